#include "plugin.h"

#include <cfloat>
#include <cstdint>

namespace maskrt {
namespace {

using nvinfer1::DataType;
using nvinfer1::TensorFormat;

enum Rule : size_t {
    kOutputSize,
    kSamplingRatio,
    kAligned,
    kStrides,
    kFinestLevel,
    kCanonicalSize,
    kCanonicalLevel,
    kEpsRatio,
    kEpsLevel
};

}  // namespace

std::vector<AttributeRule> const& PyramidRoiAlignPlugin::rules() {
    static std::vector<AttributeRule> const kRules{
        {"output_size", true, 1, 256, 1},
        {"sampling_ratio", true, 0, 16, 1},
        {"aligned", true, 0, 1, 1},
        {"strides", true, 1, 4096, kMostLevels},
        {"finest_level", true, 0, 16, 1},
        {"canonical_size", false, FLT_MIN, FLT_MAX, 1},
        {"canonical_level", true, 0, 16, 1},
        {"eps_ratio", false, 0, 0.1, 1},
        {"eps_level", false, 0, 0.1, 1},
    };
    return kRules;
}

std::string PyramidRoiAlignPlugin::check(Attributes const& attributes) {
    std::vector<int32_t> const& strides = attributes.wholes(kStrides);
    for (size_t i = 1; i < strides.size(); ++i) {
        if (strides[i] <= strides[i - 1]) {
            return "strides has " + std::to_string(strides[i]) + " after " + std::to_string(strides[i - 1])
                + "; give rising ones, the finest level's first";
        }
    }
    return {};
}

int32_t PyramidRoiAlignPlugin::levels() const {
    return static_cast<int32_t>(mAttributes.wholes(kStrides).size());
}

std::string PyramidRoiAlignPlugin::shapesProblem(std::vector<nvinfer1::Dims> const& inputs) const {
    if (static_cast<int32_t>(inputs.size()) != levels() + 1) {
        return std::to_string(inputs.size()) + " inputs and " + std::to_string(levels())
            + " strides; give boxes and one level for each stride";
    }
    nvinfer1::Dims const& boxes = inputs[0];
    if (boxes.nbDims != 3 || boxes.d[2] != 4) {
        return "boxes are " + written(boxes) + "; give [B, R, 4]";
    }
    for (size_t i = 1; i < inputs.size(); ++i) {
        nvinfer1::Dims const& f = inputs[i];
        if (f.nbDims != 4 || f.d[0] != boxes.d[0] || f.d[1] != inputs[1].d[1]) {
            return "level " + std::to_string(i - 1) + " is " + written(f) + ", the boxes " + written(boxes)
                + "; give [B, C, H, W], with the batch of the boxes and the same C for each";
        }
        // The kernel counts cells along an axis in 32 bits, and offsets in 64.
        if (f.d[2] > INT32_MAX || f.d[3] > INT32_MAX || f.d[1] > INT32_MAX) {
            return "level " + std::to_string(i - 1) + " is " + written(f) + ": too large";
        }
    }
    return {};
}

int32_t PyramidRoiAlignPlugin::getOutputDataTypes(
    DataType* outputTypes, int32_t, DataType const* inputTypes, int32_t inputs) const noexcept {
    if (inputs != levels() + 1) {
        return told(std::to_string(inputs) + " inputs and " + std::to_string(levels())
            + " strides; give boxes and one level for each stride");
    }
    if (inputTypes[0] != DataType::kFLOAT) {
        return told("boxes are not fp32; cast them: fp16 has one pixel steps above 1,024");
    }
    for (int32_t i = 1; i < inputs; ++i) {
        bool const known = inputTypes[i] == DataType::kFLOAT || inputTypes[i] == DataType::kHALF;
        if (!known || inputTypes[i] != inputTypes[1]) {
            return told("level " + std::to_string(i - 1) + " is not fp32 or fp16 like the others; cast it");
        }
    }
    outputTypes[0] = inputTypes[1];
    return 0;
}

int32_t PyramidRoiAlignPlugin::getOutputShapes(nvinfer1::DimsExprs const* in, int32_t inputs,
    nvinfer1::DimsExprs const*, int32_t, nvinfer1::DimsExprs* out, int32_t outputs,
    nvinfer1::IExprBuilder& expressions) noexcept {
    if (inputs != levels() + 1 || outputs != 1 || in[0].nbDims != 3 || in[1].nbDims != 4) {
        return told("give boxes [B, R, 4] and one level [B, C, H, W] for each stride");
    }
    auto const* const side = expressions.constant(mAttributes.whole(kOutputSize));
    out[0].nbDims = 5;
    out[0].d[0] = in[0].d[0];
    out[0].d[1] = in[0].d[1];
    out[0].d[2] = in[1].d[1];
    out[0].d[3] = side;
    out[0].d[4] = side;
    return 0;
}

bool PyramidRoiAlignPlugin::supportsFormatCombination(int32_t position,
    nvinfer1::DynamicPluginTensorDesc const* inOut, int32_t inputs, int32_t) noexcept {
    auto const& desc = inOut[position].desc;
    if (position == 0) {
        return desc.type == DataType::kFLOAT && desc.format == TensorFormat::kLINEAR;
    }
    auto const& first = inOut[1].desc;
    if (position == 1) {
        // Channels last is what convolutions on tensor cores write, and the quicker one to read.
        bool const last = desc.type == DataType::kHALF && desc.format == TensorFormat::kHWC8;
        bool const planes = (desc.type == DataType::kFLOAT || desc.type == DataType::kHALF)
            && desc.format == TensorFormat::kLINEAR;
        return last || planes;
    }
    TensorFormat const format = position < inputs ? first.format : TensorFormat::kLINEAR;
    return desc.type == first.type && desc.format == format;
}

int32_t PyramidRoiAlignPlugin::enqueue(nvinfer1::PluginTensorDesc const* in,
    nvinfer1::PluginTensorDesc const*, void const* const* inputs, void* const* outputs, void*,
    cudaStream_t stream) noexcept {
    PyramidRoiAlignParams p{};
    p.pictures = static_cast<int>(in[0].dims.d[0]);
    p.regions = static_cast<int>(in[0].dims.d[1]);
    p.channels = static_cast<int>(in[1].dims.d[1]);
    p.size = mAttributes.whole(kOutputSize);
    p.ratio = mAttributes.whole(kSamplingRatio);
    p.aligned = mAttributes.whole(kAligned) != 0;
    p.levels = levels();
    p.finestLevel = mAttributes.whole(kFinestLevel);
    p.canonicalLevel = mAttributes.whole(kCanonicalLevel);
    p.canonicalSize = mAttributes.number(kCanonicalSize);
    p.epsRatio = mAttributes.number(kEpsRatio);
    p.epsLevel = mAttributes.number(kEpsLevel);
    for (int32_t i = 0; i < p.levels; ++i) {
        nvinfer1::Dims const& dims = in[i + 1].dims;
        p.level[i] = {inputs[i + 1], static_cast<int>(dims.d[2]), static_cast<int>(dims.d[3]),
            static_cast<float>(mAttributes.wholes(kStrides)[i])};
    }
    Element const element = in[1].type == DataType::kHALF ? Element::kHalf : Element::kFloat;
    Layout const layout = in[1].format == TensorFormat::kHWC8 ? Layout::kChannelsLast : Layout::kPlanes;
    return told(launchPyramidRoiAlign(
        p, element, layout, static_cast<float const*>(inputs[0]), outputs[0], stream));
}

}  // namespace maskrt
