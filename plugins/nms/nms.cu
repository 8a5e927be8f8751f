// Greedy non-maximum suppression for each picture, in four steps:
//   1. rank     pairs (row, class) that compete get their score as a key, the others the lowest
//   2. sort     by falling key; the sort is stable, so of equal scores the first pair comes first
//   3. suppress for every candidate one bit for each later candidate that it would suppress,
//               in words of 64; tiles of 64 x 64 above the diagonal alone
//   4. pick     one block a picture walks the candidates in order, 64 at a time: those not yet
//               suppressed are picked, and their bits are added to what is suppressed
// Steps 3 and 4 need no sorting and no atomics: the order of threads cannot change the result.
//
// IoU is computed operation by operation in fp32 (no fused multiply-add), so that a comparison
// with the threshold has the outcome that the definition's has.
#include "nms.h"
#include "nms_sort.h"

#include "../common/launch.h"

#include <cfloat>

namespace maskrt {
namespace {

constexpr int kTile = 64;
constexpr int kThreads = 256;
constexpr float kLowest = -FLT_MAX;

__host__ __device__ constexpr int64_t wordsOf(int64_t candidates) {
    return (candidates + kTile - 1) / kTile;
}

__device__ bool isFiniteBox(float4 b) {
    return isfinite(b.x) && isfinite(b.y) && isfinite(b.z) && isfinite(b.w);
}

// The box of a pair; pairs count [row, class].
__device__ float4 boxOf(BatchedNmsParams const& p, float const* boxes, int64_t picture, int64_t pair) {
    int64_t const perPicture = static_cast<int64_t>(p.rows) * (p.boxOfClass ? p.classes : 1);
    int64_t const index = p.boxOfClass ? pair : pair / p.classes;
    float const* const at = boxes + (picture * perPicture + index) * 4;
    return make_float4(at[0], at[1], at[2], at[3]);
}

__global__ void rank(BatchedNmsParams const p, int64_t pairs, float const* __restrict__ boxes,
    float const* __restrict__ scores, float* __restrict__ keys, int32_t* __restrict__ values) {
    int64_t const picture = blockIdx.y;
    int64_t const pair = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (pair >= pairs) {
        return;
    }
    int64_t const at = picture * pairs + pair;
    float const score = scores[at];
    bool const competes
        = isfinite(score) && score > p.scoreThreshold && isFiniteBox(boxOf(p, boxes, picture, pair));
    // + 0 makes a negative zero positive: a radix sort would tell them apart.
    keys[at] = competes ? score + 0.0F : kLowest;
    values[at] = static_cast<int32_t>(pair);
}

__device__ float areaOf(float4 b) { return __fmul_rn(__fsub_rn(b.z, b.x), __fsub_rn(b.w, b.y)); }

__device__ bool suppresses(float4 a, float4 b, float threshold) {
    float const width = fmaxf(__fsub_rn(fminf(a.z, b.z), fmaxf(a.x, b.x)), 0.0F);
    float const height = fmaxf(__fsub_rn(fminf(a.w, b.w), fmaxf(a.y, b.y)), 0.0F);
    float const shared = __fmul_rn(width, height);
    if (!(shared > 0.0F)) {
        return false;
    }
    float const united = __fsub_rn(__fadd_rn(areaOf(a), areaOf(b)), shared);
    return __fdiv_rn(shared, united) > threshold;
}

// Tile (x, y): candidates 64 y ... of this picture against candidates 64 x ...
__global__ void __launch_bounds__(kTile)
    suppress(BatchedNmsParams const p, int64_t pairs, int candidates, float const* __restrict__ boxes,
        float const* __restrict__ keys, int32_t const* __restrict__ values, uint64_t* __restrict__ bits) {
    __shared__ float4 others[kTile];
    __shared__ int32_t otherClasses[kTile];
    if (blockIdx.x < blockIdx.y) {
        return;
    }
    int64_t const picture = blockIdx.z;
    float const* const key = keys + picture * pairs;
    int32_t const* const value = values + picture * pairs;
    int const first = blockIdx.x * kTile;
    int const count = min(kTile, candidates - first);
    int const lane = threadIdx.x;
    if (lane < count) {
        int32_t const pair = value[first + lane];
        others[lane] = boxOf(p, boxes, picture, pair);
        otherClasses[lane] = pair % p.classes;
    }
    __syncthreads();
    int const mine = blockIdx.y * kTile + lane;
    if (mine >= candidates) {
        return;
    }
    uint64_t word = 0;
    if (key[mine] > kLowest) {
        int32_t const pair = value[mine];
        float4 const box = boxOf(p, boxes, picture, pair);
        int32_t const myClass = pair % p.classes;
        for (int k = 0; k < count; ++k) {
            bool const later = first + k > mine;
            bool const rival = p.classAgnostic || otherClasses[k] == myClass;
            if (later && rival && suppresses(box, others[k], p.iouThreshold)) {
                word |= uint64_t{1} << k;
            }
        }
    }
    int64_t const words = wordsOf(candidates);
    bits[(picture * candidates + mine) * words + blockIdx.x] = word;
}

__global__ void __launch_bounds__(kThreads)
    pick(BatchedNmsParams const p, int64_t pairs, int candidates, float const* __restrict__ boxes,
        float const* __restrict__ keys, int32_t const* __restrict__ values,
        uint64_t const* __restrict__ bits, BatchedNmsOutputs const out) {
    __shared__ uint64_t suppressed[wordsOf(kMostCandidates)];
    __shared__ uint64_t diagonal[kTile];
    __shared__ uint64_t picked;
    int const words = static_cast<int>(wordsOf(candidates));
    int64_t const picture = blockIdx.x;
    float const* const key = keys + picture * pairs;
    int32_t const* const value = values + picture * pairs;
    uint64_t const* const rows = bits + picture * candidates * words;
    for (int k = threadIdx.x; k < words; k += kThreads) {
        suppressed[k] = 0;
    }
    int found = 0;
    for (int word = 0; word < words && found < p.detections; ++word) {
        int const first = word * kTile;
        int const count = min(kTile, candidates - first);
        __syncthreads();
        if (threadIdx.x < static_cast<unsigned>(count)) {
            int const mine = first + threadIdx.x;
            diagonal[threadIdx.x] = rows[static_cast<int64_t>(mine) * words + word];
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            uint64_t gone = suppressed[word], chosen = 0;
            int room = p.detections - found;
            for (int k = 0; k < count && room > 0; ++k) {
                if ((gone >> k & 1) == 0 && key[first + k] > kLowest) {
                    chosen |= uint64_t{1} << k;
                    gone |= diagonal[k];
                    --room;
                }
            }
            picked = chosen;
        }
        __syncthreads();
        uint64_t const chosen = picked;
        for (int w = word + 1 + static_cast<int>(threadIdx.x); w < words; w += kThreads) {
            uint64_t gone = suppressed[w];
            for (int k = 0; k < count; ++k) {
                if (chosen >> k & 1) {
                    gone |= rows[static_cast<int64_t>(first + k) * words + w];
                }
            }
            suppressed[w] = gone;
        }
        if (threadIdx.x < static_cast<unsigned>(kTile) && (chosen >> threadIdx.x & 1)) {
            uint64_t const before = chosen & ((uint64_t{1} << threadIdx.x) - 1);
            int64_t const at = picture * p.detections + found + __popcll(before);
            int32_t const pair = value[first + threadIdx.x];
            float4 const box = boxOf(p, boxes, picture, pair);
            float* const to = out.boxes + at * 4;
            to[0] = box.x, to[1] = box.y, to[2] = box.z, to[3] = box.w;
            out.scores[at] = key[first + threadIdx.x];
            out.classes[at] = pair % p.classes;
            out.indices[at] = pair / p.classes;
        }
        found += __popcll(chosen);
    }
    for (int k = found + static_cast<int>(threadIdx.x); k < p.detections; k += kThreads) {
        int64_t const at = picture * p.detections + k;
        float* const to = out.boxes + at * 4;
        to[0] = to[1] = to[2] = to[3] = 0.0F;
        out.scores[at] = 0.0F;
        out.classes[at] = out.indices[at] = -1;
    }
    if (threadIdx.x == 0) {
        out.count[picture] = found;
    }
}

// The workspace, in order; every part begins at a multiple of 256 bytes.
struct Parts {
    size_t keysIn, keysOut, valuesIn, valuesOut, bits, sort, sortBytes, end;

    Parts(BatchedNmsParams const& p, int64_t pairs, int candidates) {
        size_t const all = static_cast<size_t>(p.pictures) * pairs;
        size_t at = 0;
        auto const take = [&at](size_t bytes) {
            size_t const start = at;
            at += (bytes + 255) / 256 * 256;
            return start;
        };
        keysIn = take(all * sizeof(float));
        keysOut = take(all * sizeof(float));
        valuesIn = take(all * sizeof(int32_t));
        valuesOut = take(all * sizeof(int32_t));
        bits = take(static_cast<size_t>(p.pictures) * candidates * wordsOf(candidates) * sizeof(uint64_t));
        sortBytes = sortWorkspace(p.pictures, pairs);
        sort = take(sortBytes);
        end = at;
    }
};

bool inRange(BatchedNmsParams const& p) {
    int64_t const all = static_cast<int64_t>(p.pictures) * p.rows * p.classes;
    return p.pictures >= 0 && p.rows >= 0 && p.classes >= 1 && all <= INT32_MAX && p.pictures <= 65535
        && p.candidates >= 1 && p.candidates <= kMostCandidates && p.detections >= 1
        && p.detections <= p.candidates;
}

}  // namespace

size_t batchedNmsWorkspace(BatchedNmsParams const& p) {
    if (!inRange(p)) {
        return 0;
    }
    int64_t const pairs = static_cast<int64_t>(p.rows) * p.classes;
    return Parts(p, pairs, static_cast<int>(pairs < p.candidates ? pairs : p.candidates)).end;
}

cudaError_t launchBatchedNms(BatchedNmsParams const& p, float const* boxes, float const* scores,
    void* workspace, BatchedNmsOutputs const& outputs, cudaStream_t stream) {
    if (!inRange(p)) {
        return cudaErrorInvalidValue;
    }
    if (p.pictures == 0) {
        return cudaSuccess;
    }
    int64_t const pairs = static_cast<int64_t>(p.rows) * p.classes;
    int const candidates = static_cast<int>(pairs < p.candidates ? pairs : p.candidates);
    Parts const parts(p, pairs, candidates);
    char* const base = static_cast<char*>(workspace);
    auto* const keysIn = reinterpret_cast<float*>(base + parts.keysIn);
    auto* const keysOut = reinterpret_cast<float*>(base + parts.keysOut);
    auto* const valuesIn = reinterpret_cast<int32_t*>(base + parts.valuesIn);
    auto* const valuesOut = reinterpret_cast<int32_t*>(base + parts.valuesOut);
    auto* const bits = reinterpret_cast<uint64_t*>(base + parts.bits);
    unsigned const pictures = p.pictures;
    if (pairs > 0) {
        dim3 const over(static_cast<unsigned>((pairs + kThreads - 1) / kThreads), pictures);
        MASKRT_LAUNCH(rank, over, kThreads, stream, p, pairs, boxes, scores, keysIn, valuesIn);
        cudaError_t const sorted = sortFalling(base + parts.sort, parts.sortBytes, p.pictures, pairs,
            keysIn, keysOut, valuesIn, valuesOut, stream);
        if (sorted != cudaSuccess) {
            return sorted;
        }
        unsigned const tiles = static_cast<unsigned>(wordsOf(candidates));
        dim3 const grid(tiles, tiles, pictures);
        MASKRT_LAUNCH(
            suppress, grid, kTile, stream, p, pairs, candidates, boxes, keysOut, valuesOut, bits);
    }
    MASKRT_LAUNCH(pick, pictures, kThreads, stream, p, pairs, candidates, boxes, keysOut, valuesOut, bits,
        outputs);
    return cudaGetLastError();
}

}  // namespace maskrt
