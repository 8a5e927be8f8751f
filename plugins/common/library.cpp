// What TensorRT's load_library asks for. The library exports these two names and maskrt_paste.
#include "../nms/plugin.h"
#include "../roi_align/plugin.h"

extern "C" nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
    static maskrt::Creator<maskrt::BatchedNmsPlugin> nms;
    static maskrt::Creator<maskrt::PyramidRoiAlignPlugin> roiAlign;
    static nvinfer1::IPluginCreatorInterface* const creators[] = {&nms, &roiAlign};
    count = 2;
    return creators;
}

// Asked for, and left alone: a logger's interface is not the same in TensorRT 10 and 11.
extern "C" void setLoggerFinder(nvinfer1::ILoggerFinder*) {}
