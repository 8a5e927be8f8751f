// Small masks to a picture's pixels: a block makes one tile of one mask's picture, in four steps:
//   1. place   one thread finds the pixels that the box covers along x and along y; where the tile
//              has none of them, only step 4 is left
//   2. tables  for each column and each row of the tile both neighbouring cells and their weights;
//              pixels are a grid, so a pixel's four cells are its column's two by its row's two
//   3. bits    a thread interpolates 16 neighbouring pixels of a row and keeps a bit of each
//   4. store   the tile's bits leave as bytes, 16 with one store, or as words
// Bits in shared memory make steps 3 and 4 independent: a store is aligned whatever the width is.
//
// Coordinates are the definition's (engine/paste.py): fp64 along an axis, and torchvision's corners
// in fp32, operation by operation (no fused multiply-add), as they are cut to whole pixels. They are
// computed once for a column or a row: fp64 is slow on most GPUs. Offsets are 64 bits.
#include "paste.h"

#include "../common/launch.h"

#include <cuda_fp16.h>

namespace maskrt {
namespace {

constexpr int kThreads = 256;
constexpr int kColumns = 256, kRows = 64;  // of a tile
constexpr int kPiece = 16;                 // pixels that a thread makes at once
constexpr int kPieces = kColumns / kPiece;
constexpr int kWord = 32;
constexpr int kWords = kColumns / kWord;
// Corners beyond this are no places: there their difference might not fit in 64 bits.
constexpr float kFarthest = 4611686018427387904.0F;

__host__ __device__ constexpr int64_t tilesOf(int64_t pixels, int64_t tile) {
    return (pixels + tile - 1) / tile;
}

// Two cells along an axis; a weight is 0 where a cell lies outside of the mask.
struct alignas(16) Neighbours {
    int low, high;
    float lowWeight, highWeight;
};

// The pixels of a box along one axis.
struct Axis {
    int first, last;      // first <= pixel < last
    double start, scale;  // where the box begins, and cells in a pixel
    int cells, ring;      // of the mask, and how many cells of zeros stand before and behind them
    bool fades;           // into the zeros around it; else the border's value holds

    __device__ Neighbours at(int pixel) const {
        double place = (pixel + 0.5 - start) * scale - 0.5;
        if (!fades) {
            place = fmin(fmax(place, 0.0), cells + 2 * ring - 1.0);
        }
        double const whole = floor(place);
        int const low = static_cast<int>(whole) - ring, high = low + 1;
        float const rest = static_cast<float>(place - whole);
        return {min(max(low, 0), cells - 1), min(max(high, 0), cells - 1),
            low >= 0 && low < cells ? 1.0F - rest : 0.0F, high >= 0 && high < cells ? rest : 0.0F};
    }
};

__device__ int firstFrom(double edge, int limit) {
    return static_cast<int>(ceil(fmin(fmax(edge, 0.0), static_cast<double>(limit))));
}

// The pixels whose centres lie in [start, end), or half a cell beside it if the mask fades.
__device__ Axis makeAxis(double start, double end, int limit, int cells, int ring, bool fades) {
    int const all = cells + 2 * ring;
    Axis axis{0, 0, start, all / (end - start), cells, ring, fades};
    // From minus infinity on no pixel has a place.
    if (end > start && isfinite(start)) {
        double const around = fades ? (end - start) / all / 2 : 0.0;
        axis.first = firstFrom(start - around - 0.5, limit);
        axis.last = firstFrom(end + around - 0.5, limit);
    }
    return axis;
}

// A box grown by a ring of zeros, its corners cut towards zero as torchvision does it.
__device__ Axis makeGrown(float low, float high, int limit, int cells) {
    float const ratio = static_cast<float>((cells + 2.0) / cells);
    float const half = __fmul_rn(__fmul_rn(__fsub_rn(high, low), 0.5F), ratio);
    float const centre = __fmul_rn(__fadd_rn(high, low), 0.5F);
    float const from = __fsub_rn(centre, half), to = __fadd_rn(centre, half);
    if (!(fabsf(from) < kFarthest && fabsf(to) < kFarthest)) {
        return makeAxis(0.0, 0.0, limit, cells, 1, false);
    }
    int64_t const first = static_cast<int64_t>(from), length = static_cast<int64_t>(to) - first + 1;
    int64_t const last = first + max(length, int64_t{1});
    return makeAxis(static_cast<double>(first), static_cast<double>(last), limit, cells, 1, false);
}

__device__ Axis makeAxisOf(PasteParams const& p, float low, float high, int limit) {
    return p.rule == PasteRule::kTorchvision
        ? makeGrown(low, high, limit, p.cells)
        : makeAxis(low, high, limit, p.cells, 0, p.rule == PasteRule::kDetectron2);
}

// Where a column's neighbours stand: one more a piece, so that the threads of a warp, a piece apart,
// read different banks.
__device__ int slotOf(int column) { return column + column / kPiece; }

__device__ float asFloat(float v) { return v; }
__device__ float asFloat(__half v) { return __half2float(v); }

template <typename T>
__device__ float valueOf(T const* mask, int cells, Neighbours const& x, Neighbours const& y) {
    T const* const low = mask + static_cast<int64_t>(y.low) * cells;
    T const* const high = mask + static_cast<int64_t>(y.high) * cells;
    return y.lowWeight * (x.lowWeight * asFloat(low[x.low]) + x.highWeight * asFloat(low[x.high]))
        + y.highWeight * (x.lowWeight * asFloat(high[x.low]) + x.highWeight * asFloat(high[x.high]));
}

// Four bits to four bytes of 0 or 1, the lowest first.
__device__ uint32_t bytesOf(uint32_t bits) { return (bits & 15U) * 0x00204081U & 0x01010101U; }

__device__ uint4 sixteenBytesOf(uint32_t bits) {
    return make_uint4(bytesOf(bits), bytesOf(bits >> 4), bytesOf(bits >> 8), bytesOf(bits >> 12));
}

// The tile's bits; all of them are 0 where it is not covered, and nothing is read.
struct Bits {
    uint16_t const (*pieces)[kPieces];
    bool covered;

    // The piece that stands before `kPieces` or is 0.
    __device__ uint32_t piece(int row, int k) const {
        return covered && k < kPieces ? pieces[row][k] : 0U;
    }
    // Those of `column` and of the 15 behind it.
    __device__ uint32_t from(int row, int column) const {
        int const k = column / kPiece;
        return (piece(row, k) | piece(row, k + 1) << kPiece) >> column % kPiece & 0xFFFFU;
    }
};

// out: the tile's first pixel. What a row has before its first whole vector and behind its last one
// leaves a thread a byte.
__device__ void storeBytes(Bits const& bits, uint8_t* out, int64_t pitch, int height, int width) {
    auto const headOf = [=](uint8_t const* line) {
        return min(static_cast<int>(-reinterpret_cast<uintptr_t>(line) % kPiece), width);
    };
    for (int k = threadIdx.x; k < height * kPieces; k += kThreads) {
        int const row = k / kPieces;
        uint8_t* const line = out + row * pitch;
        int const x = headOf(line) + k % kPieces * kPiece;
        if (x + kPiece <= width) {
            *reinterpret_cast<uint4*>(line + x) = sixteenBytesOf(bits.from(row, x));
        }
    }
    if ((reinterpret_cast<uintptr_t>(out) | static_cast<uintptr_t>(pitch)) % kPiece == 0) {
        return;
    }
    for (int k = threadIdx.x; k < height * 2 * kPiece; k += kThreads) {
        int const row = k / (2 * kPiece), side = k / kPiece % 2;
        uint8_t* const line = out + row * pitch;
        int const head = headOf(line), tail = head + (width - head) / kPiece * kPiece;
        int const x = (side == 0 ? 0 : tail) + k % kPiece;
        if (x < (side == 0 ? head : width)) {
            line[x] = static_cast<uint8_t>(bits.from(row, x) & 1U);
        }
    }
}

// out: the tile's first word; words: of a row that lie in the tile.
__device__ void storeWords(Bits const& bits, uint32_t* out, int64_t pitch, int height, int words) {
    for (int k = threadIdx.x; k < height * kWords; k += kThreads) {
        int const row = k / kWords, word = k % kWords;
        if (word < words) {
            out[row * pitch + word]
                = bits.piece(row, 2 * word) | bits.piece(row, 2 * word + 1) << kPiece;
        }
    }
}

// tiles: of a picture, along x and along both. Four blocks a multiprocessor leave 64 registers a
// thread; left to itself the compiler keeps to 48 for some architectures and spills.
template <typename T>
__global__ void __launch_bounds__(kThreads, 4)
    paste(PasteParams const p, int2 tiles, T const* __restrict__ masks, float const* __restrict__ boxes,
        int32_t const* __restrict__ count, void* __restrict__ out) {
    __shared__ Axis alongX, alongY;
    __shared__ Neighbours columns[kColumns + kPieces], rows[kRows];
    __shared__ uint16_t pieces[kRows][kPieces];
    int const index = static_cast<int>(blockIdx.x) / tiles.y;
    int const tile = static_cast<int>(blockIdx.x) - index * tiles.y;
    int const left = tile % tiles.x * kColumns, top = tile / tiles.x * kRows;
    int const width = min(kColumns, p.width - left), height = min(kRows, p.height - top);
    if (threadIdx.x == 0) {
        float const* const box = boxes + static_cast<int64_t>(index) * 4;
        bool const counts = count == nullptr || index < *count;
        alongX = makeAxisOf(p, box[0], box[2], counts ? p.width : 0);
        alongY = makeAxisOf(p, box[1], box[3], counts ? p.height : 0);
    }
    __syncthreads();

    // The part of the tile that the box covers.
    int const fromX = max(alongX.first - left, 0), toX = min(alongX.last - left, width);
    int const fromY = max(alongY.first - top, 0), toY = min(alongY.last - top, height);
    bool const covered = fromX < toX && fromY < toY;
    if (covered) {
        for (int x = fromX + static_cast<int>(threadIdx.x); x < toX; x += kThreads) {
            columns[slotOf(x)] = alongX.at(left + x);
        }
        for (int y = fromY + static_cast<int>(threadIdx.x); y < toY; y += kThreads) {
            rows[y] = alongY.at(top + y);
        }
        __syncthreads();
        T const* const mask = masks + static_cast<int64_t>(index) * p.cells * p.cells;
        bool const reaches = p.rule == PasteRule::kDetectron2;
        int const piece = threadIdx.x % kPieces, begin = piece * kPiece;
        for (int y = threadIdx.x / kPieces; y < height; y += kThreads / kPieces) {
            uint32_t made = 0;
            if (y >= fromY && y < toY) {
                for (int x = max(fromX, begin); x < min(toX, begin + kPiece); ++x) {
                    float const value = valueOf(mask, p.cells, columns[slotOf(x)], rows[y]);
                    bool const in = reaches ? value >= p.threshold : value > p.threshold;
                    made |= static_cast<uint32_t>(in) << (x - begin);
                }
            }
            pieces[y][piece] = static_cast<uint16_t>(made);
        }
        __syncthreads();
    }

    Bits const bits{pieces, covered};
    int64_t const line = static_cast<int64_t>(index) * p.height + top;
    if (p.packed) {
        int64_t const pitch = tilesOf(p.width, kWord);
        uint32_t* const to = static_cast<uint32_t*>(out) + line * pitch + left / kWord;
        storeWords(bits, to, pitch, height, static_cast<int>(tilesOf(width, kWord)));
    } else {
        storeBytes(bits, static_cast<uint8_t*>(out) + line * p.width + left, p.width, height, width);
    }
}

bool inRange(PasteParams const& p) {
    auto const side = [](int pixels, int least) { return pixels >= least && pixels <= kLargestSide; };
    return p.masks >= 0 && side(p.cells, 1) && side(p.height, 0) && side(p.width, 0)
        && p.rule >= PasteRule::kCentres && p.rule <= PasteRule::kDetectron2;
}

}  // namespace

cudaError_t launchPaste(PasteParams const& p, void const* masks, float const* boxes,
    int32_t const* count, void* out, cudaStream_t stream) {
    if (!inRange(p)) {
        return cudaErrorInvalidValue;
    }
    if (p.masks == 0 || p.height == 0 || p.width == 0) {
        return cudaSuccess;
    }
    int64_t const across = tilesOf(p.width, kColumns), all = across * tilesOf(p.height, kRows);
    bool const aligned = !p.packed || reinterpret_cast<uintptr_t>(out) % sizeof(uint32_t) == 0;
    if (all > INT32_MAX / p.masks || !aligned) {
        return cudaErrorInvalidValue;
    }
    int2 const tiles = make_int2(static_cast<int>(across), static_cast<int>(all));
    unsigned const grid = static_cast<unsigned>(all * p.masks);
    if (p.half) {
        MASKRT_LAUNCH(
            paste, grid, kThreads, stream, p, tiles, static_cast<__half const*>(masks), boxes, count, out);
    } else {
        MASKRT_LAUNCH(
            paste, grid, kThreads, stream, p, tiles, static_cast<float const*>(masks), boxes, count, out);
    }
    return cudaGetLastError();
}

}  // namespace maskrt
