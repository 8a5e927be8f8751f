// BatchedNms for TensorRT.
#pragma once

#include "nms.h"

#include "../common/plugin.h"

namespace maskrt {

class BatchedNmsPlugin : public Plugin<BatchedNmsPlugin> {
public:
    static constexpr char const* kName = "BatchedNms";
    static std::vector<AttributeRule> const& rules();
    static std::string check(Attributes const& attributes);

    using Plugin::Plugin;

    // What is wrong with boxes [B, N, 4] or [B, N, C, 4] and scores [B, N, C]; nothing if all is right.
    std::string shapesProblem(std::vector<nvinfer1::Dims> const& inputs) const;

    int32_t getNbOutputs() const noexcept override { return 5; }
    int32_t getOutputDataTypes(nvinfer1::DataType* outputTypes, int32_t outputs,
        nvinfer1::DataType const* inputTypes, int32_t inputs) const noexcept override;
    int32_t getOutputShapes(nvinfer1::DimsExprs const* in, int32_t inputs, nvinfer1::DimsExprs const*,
        int32_t, nvinfer1::DimsExprs* out, int32_t outputs,
        nvinfer1::IExprBuilder& expressions) noexcept override;
    bool supportsFormatCombination(int32_t position, nvinfer1::DynamicPluginTensorDesc const* inOut,
        int32_t inputs, int32_t outputs) noexcept override;
    size_t getWorkspaceSize(nvinfer1::DynamicPluginTensorDesc const* in, int32_t inputs,
        nvinfer1::DynamicPluginTensorDesc const*, int32_t) const noexcept override;
    int32_t enqueue(nvinfer1::PluginTensorDesc const* in, nvinfer1::PluginTensorDesc const*,
        void const* const* inputs, void* const* outputs, void* workspace,
        cudaStream_t stream) noexcept override;

private:
    BatchedNmsParams params(nvinfer1::Dims const& boxes, nvinfer1::Dims const& scores) const;
};

}  // namespace maskrt
