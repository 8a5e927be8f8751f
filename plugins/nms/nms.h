// BatchedNms on a CUDA device: plain types, no TensorRT.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace maskrt {

constexpr int kMostCandidates = 20000;

struct BatchedNmsParams {
    int pictures, rows, classes;
    bool boxOfClass;  // boxes [B, N, C, 4] in the place of [B, N, 4]
    float iouThreshold, scoreThreshold;
    int candidates, detections;
    bool classAgnostic;
};

struct BatchedNmsOutputs {
    float* boxes;      // [B, K, 4]
    float* scores;     // [B, K], falling
    int32_t* classes;  // [B, K], -1 where there is none
    int32_t* indices;  // [B, K], the row; -1 where there is none
    int32_t* count;    // [B]
};

// Bytes that `launchBatchedNms` needs beside its outputs; 0 if the sizes are out of range.
size_t batchedNmsWorkspace(BatchedNmsParams const& params);

// boxes: float [B, N, 4] or [B, N, C, 4], xyxy; scores: float [B, N, C]; workspace: 256 byte aligned.
// Enqueues its kernels; neither allocates nor waits. The same inputs give the same outputs.
cudaError_t launchBatchedNms(BatchedNmsParams const& params, float const* boxes, float const* scores,
    void* workspace, BatchedNmsOutputs const& outputs, cudaStream_t stream);

}  // namespace maskrt
