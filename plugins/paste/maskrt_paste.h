/* The paste kernel of libmaskrt_plugins.so for an application: plain C, see README.md beside it. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers of the rules. */
enum { MASKRT_PASTE_CENTRES = 0, MASKRT_PASTE_TORCHVISION = 1, MASKRT_PASTE_DETECTRON2 = 2 };

/* What comes out: uint8 [N, H, W], or a bit a pixel, uint32 [N, H, ceil(W / 32)]. */
enum { MASKRT_PASTE_BYTES = 0, MASKRT_PASTE_BITS = 1 };

/* Enqueues one kernel on a stream of the calling thread's current device; neither allocates nor waits.
 *
 * masks:  fp32 [N, S, S], or fp16 if `half` is not 0
 * boxes:  fp32 [N, 4], xyxy in the picture's pixels
 * count:  one int32, or null for N; masks from this one on have no pixels
 * out:    every element of it is written
 * stream: a cudaStream_t or a CUstream; null is the default one
 *
 * Masks, boxes, count and out are addresses on the device.
 *
 * Returns 0, or CUDA's error number (cudaError_t); after 1, cudaErrorInvalidValue, nothing was
 * enqueued: a number is out of its range, an address is null, or that of bits no multiple of 4. */
int maskrt_paste(void const* masks, int half, float const* boxes, int32_t const* count, int number,
    int cells, int height, int width, float threshold, int rule, int form, void* out, void* stream);

#ifdef __cplusplus
}
#endif
