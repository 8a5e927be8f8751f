// How our launchers start a kernel. A macro, because a host compiler cannot read <<< >>>: the tests
// give it another meaning and run the same kernels on a CPU (tests/plugins/emulation).
#pragma once

#ifndef MASKRT_LAUNCH
#define MASKRT_LAUNCH(kernel, grid, block, stream, ...) kernel<<<grid, block, 0, stream>>>(__VA_ARGS__)
#endif
