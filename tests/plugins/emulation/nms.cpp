// BatchedNms's kernels as a function that Python can call, on a CPU; the sort is a host's.
#include "emulate.h"

#include <numeric>

#include "../../../plugins/nms/nms.cu"

namespace maskrt {

size_t sortWorkspace(int, int64_t) { return 64; }

cudaError_t sortFalling(void*, size_t, int pictures, int64_t pairs, float const* keysIn, float* keysOut,
    int32_t const* valuesIn, int32_t* valuesOut, cudaStream_t) {
    for (int picture = 0; picture < pictures; ++picture) {
        int64_t const at = picture * pairs;
        std::vector<int64_t> order(pairs);
        std::iota(order.begin(), order.end(), at);
        std::stable_sort(
            order.begin(), order.end(), [&](int64_t a, int64_t b) { return keysIn[a] > keysIn[b]; });
        for (int64_t k = 0; k < pairs; ++k) {
            keysOut[at + k] = keysIn[order[k]];
            valuesOut[at + k] = valuesIn[order[k]];
        }
    }
    return cudaSuccess;
}

}  // namespace maskrt

extern "C" {

// whole: pictures, rows, classes, box of class, candidates, detections, class agnostic
int nms(int const* whole, float iou, float score, float const* boxes, float const* scores, float* outBoxes,
    float* outScores, int32_t* outClasses, int32_t* outIndices, int32_t* count) {
    maskrt::BatchedNmsParams const p{
        whole[0], whole[1], whole[2], whole[3] != 0, iou, score, whole[4], whole[5], whole[6] != 0};
    std::vector<char> workspace(maskrt::batchedNmsWorkspace(p) + 256);
    return maskrt::launchBatchedNms(p, boxes, scores, workspace.data(),
        {outBoxes, outScores, outClasses, outIndices, count}, nullptr);
}
}
