#include "nms_sort.h"

#include <cub/device/device_segmented_radix_sort.cuh>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>

namespace maskrt {
namespace {

struct StartOf {
    int64_t pairs;
    __host__ __device__ int operator()(int picture) const { return static_cast<int>(picture * pairs); }
};

cudaError_t sort(void* workspace, size_t& bytes, int pictures, int64_t pairs, float const* keysIn,
    float* keysOut, int32_t const* valuesIn, int32_t* valuesOut, cudaStream_t stream) {
    auto const starts
        = thrust::make_transform_iterator(thrust::make_counting_iterator(0), StartOf{pairs});
    return cub::DeviceSegmentedRadixSort::SortPairsDescending(workspace, bytes, keysIn, keysOut, valuesIn,
        valuesOut, static_cast<int>(pictures * pairs), pictures, starts, starts + 1, 0,
        static_cast<int>(sizeof(float) * 8), stream);
}

}  // namespace

size_t sortWorkspace(int pictures, int64_t pairs) {
    // Asking CUB touches a device, and a plan may be built on a machine that has none. CUB needs a
    // second copy of keys and values and a little more; `sortFalling` checks that it is enough.
    return static_cast<size_t>(pictures) * pairs * (sizeof(float) + sizeof(int32_t)) + (size_t{1} << 16);
}

cudaError_t sortFalling(void* workspace, size_t bytes, int pictures, int64_t pairs, float const* keysIn,
    float* keysOut, int32_t const* valuesIn, int32_t* valuesOut, cudaStream_t stream) {
    size_t needed = 0;
    cudaError_t const asked
        = sort(nullptr, needed, pictures, pairs, keysIn, keysOut, valuesIn, valuesOut, stream);
    if (asked != cudaSuccess) {
        return asked;
    }
    if (needed > bytes) {
        return cudaErrorMemoryAllocation;
    }
    return sort(workspace, bytes, pictures, pairs, keysIn, keysOut, valuesIn, valuesOut, stream);
}

}  // namespace maskrt
