// Each picture's keys by falling value, stable, with CUB's radix sort.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace maskrt {

// Bytes that `sortFalling` needs.
size_t sortWorkspace(int pictures, int64_t pairs);

// keys, values: [pictures, pairs].
cudaError_t sortFalling(void* workspace, size_t bytes, int pictures, int64_t pairs, float const* keysIn,
    float* keysOut, int32_t const* valuesIn, int32_t* valuesOut, cudaStream_t stream);

}  // namespace maskrt
