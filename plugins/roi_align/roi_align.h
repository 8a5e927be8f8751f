// PyramidRoiAlign on a CUDA device: plain types, no TensorRT.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace maskrt {

constexpr int kMostLevels = 8;

enum class Element { kFloat, kHalf };

// Where the channels of a picture's features stand.
enum class Layout {
    kPlanes,        // [C, H, W]
    kChannelsLast,  // [H, W, C'], C' is C rounded up to 8: half only
};

struct PyramidRoiAlignParams {
    int pictures, regions, channels;
    int size;   // S: bins along each axis
    int ratio;  // samples along each axis of a bin; 0: as many as the bin has cells
    bool aligned;
    int levels;
    int finestLevel, canonicalLevel;
    float canonicalSize, epsRatio, epsLevel;
    struct Level {
        void const* features;
        int height, width;
        float stride;
    } level[kMostLevels];
};

// boxes: float [pictures, regions, 4], xyxy in picture pixels
// out:   element [pictures, regions, channels, size, size]
// Enqueues one kernel; neither allocates nor waits.
cudaError_t launchPyramidRoiAlign(PyramidRoiAlignParams const& params, Element element, Layout layout,
    float const* boxes, void* out, cudaStream_t stream);

}  // namespace maskrt
