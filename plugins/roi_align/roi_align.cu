// RoIAlign of each region on the pyramid level that fits its size: all levels in one launch.
//
// A block computes one region for a chunk of channels. The samples' places are the same for all of
// them and, being a grid, the product of places along y and along x; so a block first writes two
// small tables (for every sample along an axis: both neighbours and their weights) and then only
// multiplies and adds. A weight is 0 where a sample lies farther than a cell outside.
//
// Coordinates are fp32 whatever the features are; offsets into features and results are 64 bits.
#include "roi_align.h"

#include "../common/launch.h"

#include <cuda_fp16.h>

namespace maskrt {
namespace {

constexpr int kThreads = 256;
// Samples along an axis that the tables hold; a region with more (adaptive, very large) has them
// computed where they are needed.
constexpr int kTable = 512;
constexpr int kVector = 8;  // halves in a 16 byte load

struct Sample {
    int low, high;
    float lowWeight, highWeight;
};

// Samples along one axis of a region.
struct Axis {
    float start, bin;  // where the region begins and how long a bin is, in cells
    int perBin;
    float share;  // 1 / perBin
    int cells;

    // Sample k. Its place is the sum that torchvision forms, in its order: far from the origin another
    // order gives other last digits.
    __device__ Sample at(int k) const {
        int const whole = k / perBin, rest = k - whole * perBin;
        float const place = start + static_cast<float>(whole) * bin
            + (static_cast<float>(rest) + 0.5F) * bin * share;
        bool const outside = place < -1.0F || place > static_cast<float>(cells);
        float const inside = fminf(fmaxf(place, 0.0F), static_cast<float>(cells - 1));
        int const low = static_cast<int>(inside);
        float const high = inside - static_cast<float>(low);
        return {low, min(low + 1, cells - 1), outside ? 0.0F : 1.0F - high, outside ? 0.0F : high};
    }
};

struct Region {
    Axis x, y;
    int level;
    float scale;  // 1 / (samples in a bin)
};

__device__ float finiteOrZero(float v) { return isfinite(v) ? v : 0.0F; }

__device__ Axis makeAxis(float first, float last, int cells, PyramidRoiAlignParams const& p) {
    float const shift = p.aligned ? 0.5F : 0.0F;
    float const start = first - shift;
    float length = (last - shift) - start;
    if (!p.aligned) {
        length = fmaxf(length, 1.0F);
    }
    float const bin = length / static_cast<float>(p.size);
    int const perBin = p.ratio > 0 ? p.ratio : max(static_cast<int>(ceilf(bin)), 0);
    return {start, bin, perBin, 1.0F / static_cast<float>(max(perBin, 1)), cells};
}

__device__ Region makeRegion(float const* box, PyramidRoiAlignParams const& p) {
    float const x0 = finiteOrZero(box[0]), y0 = finiteOrZero(box[1]);
    float const x1 = finiteOrZero(box[2]), y1 = finiteOrZero(box[3]);
    // Feature Pyramid Networks, equation 1; a region without area belongs to the finest level.
    float const area = (x1 - x0) * (y1 - y0);
    int level = 0;
    if (area > 0.0F) {
        float const ratio = sqrtf(area) / p.canonicalSize + p.epsRatio;
        float const number = floorf(static_cast<float>(p.canonicalLevel) + log2f(ratio) + p.epsLevel);
        level = static_cast<int>(fminf(fmaxf(number - static_cast<float>(p.finestLevel), 0.0F),
            static_cast<float>(p.levels - 1)));
    }
    auto const& at = p.level[level];
    Region region{makeAxis(x0 / at.stride, x1 / at.stride, at.width, p),
        makeAxis(y0 / at.stride, y1 / at.stride, at.height, p), level, 0.0F};
    region.scale = 1.0F / static_cast<float>(max(region.x.perBin * region.y.perBin, 1));
    return region;
}

struct Tables {
    Sample x[kTable], y[kTable];
};

__device__ void fill(Sample* table, Axis const& axis, int size) {
    int const count = min(axis.perBin * size, kTable);
    for (int k = threadIdx.x; k < count; k += kThreads) {
        table[k] = axis.at(k);
    }
}

__device__ Sample look(Sample const* table, Axis const& axis, int k) {
    return k < kTable ? table[k] : axis.at(k);
}

__device__ float asFloat(float v) { return v; }
__device__ float asFloat(__half v) { return __half2float(v); }
__device__ void store(float* to, float v) { *to = v; }
__device__ void store(__half* to, float v) { *to = __float2half_rn(v); }

// A thread computes one bin of one channel; neighbouring threads have neighbouring bins, so that
// results are written in one piece.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    planes(PyramidRoiAlignParams const p, int chunk, float const* __restrict__ boxes, T* __restrict__ out) {
    __shared__ Tables tables;
    __shared__ Region region;
    int64_t const row = blockIdx.x;
    if (threadIdx.x == 0) {
        region = makeRegion(boxes + row * 4, p);
    }
    __syncthreads();
    fill(tables.x, region.x, p.size);
    fill(tables.y, region.y, p.size);
    __syncthreads();

    auto const& level = p.level[region.level];
    int64_t const plane = static_cast<int64_t>(level.height) * level.width;
    int const bins = p.size * p.size;
    int const firstChannel = blockIdx.y * chunk;
    int const channels = min(chunk, p.channels - firstChannel);
    T const* const features = static_cast<T const*>(level.features)
        + (row / p.regions * p.channels + firstChannel) * plane;
    T* const results = out + (row * p.channels + firstChannel) * bins;

    for (int k = threadIdx.x; k < channels * bins; k += kThreads) {
        int const channel = k / bins, bin = k - channel * bins;
        int const i = bin / p.size, j = bin - i * p.size;
        T const* const cells = features + channel * plane;
        float sum = 0.0F;
        for (int u = 0; u < region.y.perBin; ++u) {
            Sample const y = look(tables.y, region.y, i * region.y.perBin + u);
            T const* const low = cells + static_cast<int64_t>(y.low) * level.width;
            T const* const high = cells + static_cast<int64_t>(y.high) * level.width;
            for (int v = 0; v < region.x.perBin; ++v) {
                Sample const x = look(tables.x, region.x, j * region.x.perBin + v);
                sum += y.lowWeight * (x.lowWeight * asFloat(low[x.low]) + x.highWeight * asFloat(low[x.high]))
                    + y.highWeight
                        * (x.lowWeight * asFloat(high[x.low]) + x.highWeight * asFloat(high[x.high]));
            }
        }
        store(results + k, sum * region.scale);
    }
}

union Vector {
    uint4 whole;
    __half2 pairs[kVector / 2];
};

__device__ void addScaled(float* sums, __half const* at, float weight) {
    Vector v;
    v.whole = *reinterpret_cast<uint4 const*>(at);
#pragma unroll
    for (int k = 0; k < kVector / 2; ++k) {
        float2 const pair = __half22float2(v.pairs[k]);
        sums[2 * k] += weight * pair.x;
        sums[2 * k + 1] += weight * pair.y;
    }
}

// Channels stand side by side: a thread computes one bin of eight channels with 16 byte loads.
// Three blocks a multiprocessor leave 80 registers a thread; left to itself the compiler keeps to 64
// for some architectures and spills.
__global__ void __launch_bounds__(kThreads, 3) channelsLast(
    PyramidRoiAlignParams const p, int chunk, float const* __restrict__ boxes, __half* __restrict__ out) {
    __shared__ Tables tables;
    __shared__ Region region;
    int64_t const row = blockIdx.x;
    if (threadIdx.x == 0) {
        region = makeRegion(boxes + row * 4, p);
    }
    __syncthreads();
    fill(tables.x, region.x, p.size);
    fill(tables.y, region.y, p.size);
    __syncthreads();

    auto const& level = p.level[region.level];
    int const padded = (p.channels + kVector - 1) / kVector * kVector;
    int const bins = p.size * p.size;
    int const firstChannel = blockIdx.y * chunk;
    int const vectors = (min(chunk, p.channels - firstChannel) + kVector - 1) / kVector;
    __half const* const features = static_cast<__half const*>(level.features)
        + row / p.regions * level.height * level.width * padded + firstChannel;
    __half* const results = out + (row * p.channels + firstChannel) * bins;

    for (int k = threadIdx.x; k < vectors * bins; k += kThreads) {
        int const bin = k / vectors, vector = k - bin * vectors;
        int const i = bin / p.size, j = bin - i * p.size;
        float sums[kVector] = {};
        for (int u = 0; u < region.y.perBin; ++u) {
            Sample const y = look(tables.y, region.y, i * region.y.perBin + u);
            __half const* const low
                = features + static_cast<int64_t>(y.low) * level.width * padded + vector * kVector;
            __half const* const high
                = features + static_cast<int64_t>(y.high) * level.width * padded + vector * kVector;
            for (int v = 0; v < region.x.perBin; ++v) {
                Sample const x = look(tables.x, region.x, j * region.x.perBin + v);
                int64_t const left = static_cast<int64_t>(x.low) * padded;
                int64_t const right = static_cast<int64_t>(x.high) * padded;
                addScaled(sums, low + left, y.lowWeight * x.lowWeight);
                addScaled(sums, low + right, y.lowWeight * x.highWeight);
                addScaled(sums, high + left, y.highWeight * x.lowWeight);
                addScaled(sums, high + right, y.highWeight * x.highWeight);
            }
        }
#pragma unroll
        for (int c = 0; c < kVector; ++c) {
            int const channel = vector * kVector + c;
            if (firstChannel + channel < p.channels) {
                results[static_cast<int64_t>(channel) * bins + bin]
                    = __float2half_rn(sums[c] * region.scale);
            }
        }
    }
}

}  // namespace

cudaError_t launchPyramidRoiAlign(PyramidRoiAlignParams const& params, Element element, Layout layout,
    float const* boxes, void* out, cudaStream_t stream) {
    int64_t const rows = static_cast<int64_t>(params.pictures) * params.regions;
    if (rows == 0 || params.channels == 0) {
        return cudaSuccess;
    }
    if (rows > INT32_MAX || params.levels < 1 || params.levels > kMostLevels
        || (layout == Layout::kChannelsLast && element != Element::kHalf)) {
        return cudaErrorInvalidValue;
    }
    // Large enough to pay for the tables, small enough to fill a device with a few regions.
    int constexpr chunk = 64;
    dim3 const grid(static_cast<unsigned>(rows), (params.channels + chunk - 1) / chunk);
    if (layout == Layout::kChannelsLast) {
        MASKRT_LAUNCH(channelsLast, grid, kThreads, stream, params, chunk, boxes, static_cast<__half*>(out));
    } else if (element == Element::kHalf) {
        MASKRT_LAUNCH(planes, grid, kThreads, stream, params, chunk, boxes, static_cast<__half*>(out));
    } else {
        MASKRT_LAUNCH(planes, grid, kThreads, stream, params, chunk, boxes, static_cast<float*>(out));
    }
    return cudaGetLastError();
}

}  // namespace maskrt
