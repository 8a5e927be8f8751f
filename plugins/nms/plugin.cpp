#include "plugin.h"

#include <cfloat>

namespace maskrt {
namespace {

using nvinfer1::DataType;

enum Rule : size_t { kIouThreshold, kScoreThreshold, kCandidates, kDetections, kClassAgnostic };

// Inputs and outputs count together in TensorRT's questions about types and formats.
constexpr int32_t kInputs = 2;
constexpr DataType kTypes[] = {DataType::kFLOAT, DataType::kFLOAT, DataType::kFLOAT, DataType::kFLOAT,
    DataType::kINT32, DataType::kINT32, DataType::kINT32};

}  // namespace

std::vector<AttributeRule> const& BatchedNmsPlugin::rules() {
    static std::vector<AttributeRule> const kRules{
        {"iou_threshold", false, 0, 1, 1},
        {"score_threshold", false, -FLT_MAX, FLT_MAX, 1},
        {"candidates", true, 1, kMostCandidates, 1},
        {"detections", true, 1, kMostCandidates, 1},
        {"class_agnostic", true, 0, 1, 1},
    };
    return kRules;
}

std::string BatchedNmsPlugin::check(Attributes const& attributes) {
    if (attributes.whole(kDetections) <= attributes.whole(kCandidates)) {
        return {};
    }
    return "detections is " + std::to_string(attributes.whole(kDetections))
        + "; give at most as many as candidates (" + std::to_string(attributes.whole(kCandidates)) + ")";
}

BatchedNmsParams BatchedNmsPlugin::params(nvinfer1::Dims const& boxes, nvinfer1::Dims const& scores) const {
    BatchedNmsParams p{};
    p.pictures = static_cast<int>(scores.d[0]);
    p.rows = static_cast<int>(scores.d[1]);
    p.classes = static_cast<int>(scores.d[2]);
    p.boxOfClass = boxes.nbDims == 4;
    p.iouThreshold = mAttributes.number(kIouThreshold);
    p.scoreThreshold = mAttributes.number(kScoreThreshold);
    p.candidates = mAttributes.whole(kCandidates);
    p.detections = mAttributes.whole(kDetections);
    p.classAgnostic = mAttributes.whole(kClassAgnostic) != 0;
    return p;
}

std::string BatchedNmsPlugin::shapesProblem(std::vector<nvinfer1::Dims> const& inputs) const {
    nvinfer1::Dims const& boxes = inputs[0];
    nvinfer1::Dims const& scores = inputs[1];
    bool const ranks = (boxes.nbDims == 3 || boxes.nbDims == 4) && scores.nbDims == 3;
    bool right = ranks && boxes.d[boxes.nbDims - 1] == 4;
    for (int32_t i = 0; right && i < boxes.nbDims - 1; ++i) {
        right = boxes.d[i] == scores.d[i];
    }
    if (!right) {
        return "boxes are " + written(boxes) + " and scores " + written(scores)
            + "; give [B, N, 4] or [B, N, C, 4] and [B, N, C]";
    }
    if (batchedNmsWorkspace(params(boxes, scores)) == 0) {
        return "scores are " + written(scores) + ": too many pairs of rows and classes for 32-bit indices";
    }
    return {};
}

int32_t BatchedNmsPlugin::getOutputDataTypes(
    DataType* outputTypes, int32_t outputs, DataType const* inputTypes, int32_t inputs) const noexcept {
    if (inputs != kInputs) {
        return told(std::to_string(inputs) + " inputs; give boxes and scores");
    }
    if (inputTypes[0] != DataType::kFLOAT || inputTypes[1] != DataType::kFLOAT) {
        return told("boxes or scores are not fp32; cast them: fp16 has one pixel steps above 1,024");
    }
    for (int32_t i = 0; i < outputs; ++i) {
        outputTypes[i] = kTypes[kInputs + i];
    }
    return 0;
}

int32_t BatchedNmsPlugin::getOutputShapes(nvinfer1::DimsExprs const* in, int32_t inputs,
    nvinfer1::DimsExprs const*, int32_t, nvinfer1::DimsExprs* out, int32_t outputs,
    nvinfer1::IExprBuilder& expressions) noexcept {
    if (inputs != kInputs || outputs != getNbOutputs() || in[1].nbDims != 3) {
        return told("scores have " + std::to_string(in[inputs - 1].nbDims) + " dimensions; give [B, N, C]");
    }
    auto const* const batch = in[1].d[0];
    auto const* const kept = expressions.constant(mAttributes.whole(kDetections));
    for (int32_t i = 0; i < outputs; ++i) {
        out[i].nbDims = 2;
        out[i].d[0] = batch;
        out[i].d[1] = kept;
    }
    out[0].nbDims = 3;
    out[0].d[2] = expressions.constant(4);
    out[4].nbDims = 1;
    return 0;
}

bool BatchedNmsPlugin::supportsFormatCombination(int32_t position,
    nvinfer1::DynamicPluginTensorDesc const* inOut, int32_t, int32_t) noexcept {
    auto const& desc = inOut[position].desc;
    return desc.type == kTypes[position] && desc.format == nvinfer1::TensorFormat::kLINEAR;
}

size_t BatchedNmsPlugin::getWorkspaceSize(nvinfer1::DynamicPluginTensorDesc const* in, int32_t,
    nvinfer1::DynamicPluginTensorDesc const*, int32_t) const noexcept {
    return batchedNmsWorkspace(params(in[0].max, in[1].max));
}

int32_t BatchedNmsPlugin::enqueue(nvinfer1::PluginTensorDesc const* in, nvinfer1::PluginTensorDesc const*,
    void const* const* inputs, void* const* outputs, void* workspace, cudaStream_t stream) noexcept {
    BatchedNmsOutputs const out{static_cast<float*>(outputs[0]), static_cast<float*>(outputs[1]),
        static_cast<int32_t*>(outputs[2]), static_cast<int32_t*>(outputs[3]),
        static_cast<int32_t*>(outputs[4])};
    return told(launchBatchedNms(params(in[0].dims, in[1].dims), static_cast<float const*>(inputs[0]),
        static_cast<float const*>(inputs[1]), workspace, out, stream));
}

}  // namespace maskrt
