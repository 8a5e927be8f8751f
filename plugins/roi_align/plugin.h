// PyramidRoiAlign for TensorRT.
#pragma once

#include "roi_align.h"

#include "../common/plugin.h"

namespace maskrt {

class PyramidRoiAlignPlugin : public Plugin<PyramidRoiAlignPlugin> {
public:
    static constexpr char const* kName = "PyramidRoiAlign";
    static std::vector<AttributeRule> const& rules();
    static std::string check(Attributes const& attributes);

    using Plugin::Plugin;

    // What is wrong with boxes [B, R, 4] and each level's [B, C, H, W]; nothing if all is right.
    std::string shapesProblem(std::vector<nvinfer1::Dims> const& inputs) const;

    int32_t getNbOutputs() const noexcept override { return 1; }
    int32_t getOutputDataTypes(nvinfer1::DataType* outputTypes, int32_t outputs,
        nvinfer1::DataType const* inputTypes, int32_t inputs) const noexcept override;
    int32_t getOutputShapes(nvinfer1::DimsExprs const* in, int32_t inputs, nvinfer1::DimsExprs const*,
        int32_t, nvinfer1::DimsExprs* out, int32_t outputs,
        nvinfer1::IExprBuilder& expressions) noexcept override;
    bool supportsFormatCombination(int32_t position, nvinfer1::DynamicPluginTensorDesc const* inOut,
        int32_t inputs, int32_t outputs) noexcept override;
    int32_t enqueue(nvinfer1::PluginTensorDesc const* in, nvinfer1::PluginTensorDesc const*,
        void const* const* inputs, void* const* outputs, void*, cudaStream_t stream) noexcept override;

private:
    int32_t levels() const;
};

}  // namespace maskrt
