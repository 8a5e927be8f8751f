// PyramidRoiAlign's kernels as a function that Python can call, on a CPU.
#include "emulate.h"

#include "../../../plugins/roi_align/roi_align.cu"

extern "C" {

// whole: pictures, regions, channels, size, ratio, aligned, levels, finest, canonical level, element,
// layout; real: canonical size, eps ratio, eps level; levels: height, width, stride of each
int roiAlign(int const* whole, float const* real, void const* const* features, int const* levels,
    float const* boxes, void* out) {
    maskrt::PyramidRoiAlignParams p{};
    p.pictures = whole[0], p.regions = whole[1], p.channels = whole[2], p.size = whole[3];
    p.ratio = whole[4], p.aligned = whole[5] != 0, p.levels = whole[6];
    p.finestLevel = whole[7], p.canonicalLevel = whole[8];
    p.canonicalSize = real[0], p.epsRatio = real[1], p.epsLevel = real[2];
    for (int k = 0; k < p.levels; ++k) {
        p.level[k] = {features[k], levels[3 * k], levels[3 * k + 1], static_cast<float>(levels[3 * k + 2])};
    }
    return maskrt::launchPyramidRoiAlign(p, static_cast<maskrt::Element>(whole[9]),
        static_cast<maskrt::Layout>(whole[10]), boxes, out, nullptr);
}
}
