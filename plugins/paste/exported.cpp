// The C function that applications and ctypes call.
#include "maskrt_paste.h"

#include "paste.h"

extern "C" int maskrt_paste(void const* masks, int half, float const* boxes, int32_t const* count,
    int number, int cells, int height, int width, float threshold, int rule, int form, void* out,
    void* stream) {
    bool const null = masks == nullptr || boxes == nullptr || out == nullptr;
    bool const nothing = number == 0 || height == 0 || width == 0;
    if ((null && !nothing) || (form != MASKRT_PASTE_BYTES && form != MASKRT_PASTE_BITS)) {
        return cudaErrorInvalidValue;
    }
    maskrt::PasteParams const params{number, cells, height, width, threshold,
        static_cast<maskrt::PasteRule>(rule), half != 0, form == MASKRT_PASTE_BITS};
    return maskrt::launchPaste(params, masks, boxes, count, out, static_cast<cudaStream_t>(stream));
}
