// Enough of CUDA to run a kernel on a CPU: a block's threads are threads, its barrier is a barrier,
// blocks run one after the other. Slow, and blind to what only a GPU does (memory order between
// warps, alignment of loads), but the index arithmetic and the results are the kernel's own.
#pragma once

#include <cuda_runtime_api.h>
#include <math.h>
#include <vector_functions.h>

#include <algorithm>
#include <barrier>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

using std::max;
using std::min;

inline thread_local uint3 threadIdx{}, blockIdx{};
inline thread_local dim3 blockDim{}, gridDim{};
inline thread_local std::barrier<>* blockBarrier = nullptr;

#undef __shared__
#define __shared__ static
#undef __launch_bounds__
#define __launch_bounds__(...)

inline void __syncthreads() { blockBarrier->arrive_and_wait(); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }

// The block's threads are made once and walk over the grid together.
template <typename Kernel>
void emulate(dim3 grid, dim3 block, Kernel const& kernel) {
    std::optional<std::barrier<>> inBlock;
    auto const fresh = [&]() noexcept { inBlock.emplace(block.x); };
    fresh();
    std::barrier betweenBlocks(block.x, fresh);
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < block.x; ++t) {
        threads.emplace_back([&, t] {
            threadIdx = {t, 0, 0}, blockDim = block, gridDim = grid;
            for (unsigned b = 0; b < grid.x * grid.y * grid.z; ++b) {
                blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
                blockBarrier = &*inBlock;
                kernel();
                inBlock->arrive_and_drop();
                betweenBlocks.arrive_and_wait();
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
}

#define MASKRT_LAUNCH(kernel, grid, block, stream, ...) \
    emulate(dim3(grid), dim3(block), [&] { kernel(__VA_ARGS__); })

inline cudaError_t emulatedLastError() { return cudaSuccess; }
#define cudaGetLastError emulatedLastError
