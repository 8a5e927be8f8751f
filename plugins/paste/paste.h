// Small masks to a picture's pixels on a CUDA device: plain types, no TensorRT.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace maskrt {

constexpr int kLargestSide = 1 << 24;

// engine/paste.py defines them.
enum class PasteRule { kCentres, kTorchvision, kDetectron2 };

struct PasteParams {
    int masks, cells;  // N and S
    int height, width;
    float threshold;
    PasteRule rule;
    bool half;    // the masks are fp16
    bool packed;  // a bit a pixel in the place of a byte
};

// masks: float or half [N, S, S]; boxes: float [N, 4], xyxy in the picture's pixels
// count: one number, or null for N; masks from this one on have no pixels
// out:   uint8 [N, H, W], 0 or 1; packed: uint32 [N, H, ceil(W / 32)], pixel x is bit x % 32 of word
//        x / 32, and the bits past W are 0
// All pointers are the device's. Every element of `out` is written. Enqueues one kernel; neither
// allocates nor waits. Refused: a side above kLargestSide, more tiles than a grid has.
cudaError_t launchPaste(PasteParams const& params, void const* masks, float const* boxes,
    int32_t const* count, void* out, cudaStream_t stream);

}  // namespace maskrt
