// What every plugin of ours has in common: one class for IPluginV3 and its three capabilities, and one
// for its creator. TensorRT 10.0 to 11.x lay these interfaces out alike, so that one library serves
// all of them, as long as nothing here calls a logger or the registry: those two changed in 11.0.
// Problems go to standard error for that reason.
#pragma once

#include "attributes.h"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <memory>
#include <string>

namespace maskrt {

constexpr char const* kNamespace = "maskrt";
constexpr char const* kVersion = "1";

inline void report(char const* op, std::string const& problem) {
    std::fprintf(stderr, "maskrt: %s: %s\n", op, problem.c_str());
}

inline std::string written(nvinfer1::Dims const& dims) {
    std::string text = "[";
    for (int32_t i = 0; i < dims.nbDims; ++i) {
        text += (i == 0 ? "" : ", ") + std::to_string(dims.d[i]);
    }
    return text + "]";
}

// Derived has: kName; static rules(); static std::string check(Attributes const&); a constructor from
// Attributes; shapesProblem; and those methods of TensorRT's that are not here.
template <typename Derived>
class Plugin : public nvinfer1::IPluginV3,
               public nvinfer1::IPluginV3OneCore,
               public nvinfer1::IPluginV3OneBuild,
               public nvinfer1::IPluginV3OneRuntime {
public:
    explicit Plugin(Attributes attributes) : mAttributes(std::move(attributes)) {}

    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
        switch (type) {
            case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
            case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
            case nvinfer1::PluginCapabilityType::kRUNTIME:
                return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
        }
        return nullptr;
    }

    nvinfer1::IPluginV3* clone() noexcept override { return new Derived(mAttributes); }

    char const* getPluginName() const noexcept override { return Derived::kName; }
    char const* getPluginVersion() const noexcept override { return kVersion; }
    char const* getPluginNamespace() const noexcept override { return kNamespace; }

    int32_t configurePlugin(nvinfer1::DynamicPluginTensorDesc const* in, int32_t inputs,
        nvinfer1::DynamicPluginTensorDesc const*, int32_t) noexcept override {
        std::vector<nvinfer1::Dims> largest;
        for (int32_t i = 0; i < inputs; ++i) {
            largest.push_back(in[i].max);
        }
        return told(derived().shapesProblem(largest));
    }

    int32_t onShapeChange(nvinfer1::PluginTensorDesc const* in, int32_t inputs,
        nvinfer1::PluginTensorDesc const*, int32_t) noexcept override {
        std::vector<nvinfer1::Dims> shapes;
        for (int32_t i = 0; i < inputs; ++i) {
            shapes.push_back(in[i].dims);
        }
        return told(derived().shapesProblem(shapes));
    }

    // Nothing belongs to a context: a copy that knows its attributes is enough.
    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override {
        return clone();
    }

    nvinfer1::PluginFieldCollection const* getFieldsToSerialize() noexcept override {
        return mAttributes.fields();
    }

protected:
    // TensorRT's return code of a problem, which is reported; 0 for none.
    static int32_t told(std::string const& problem) {
        if (problem.empty()) {
            return 0;
        }
        report(Derived::kName, problem);
        return -1;
    }

    static int32_t told(cudaError_t code) {
        return told(code == cudaSuccess ? std::string{} : std::string{cudaGetErrorString(code)});
    }

    Attributes mAttributes;

private:
    Derived& derived() { return static_cast<Derived&>(*this); }
};

template <typename P>
class Creator : public nvinfer1::IPluginCreatorV3One {
public:
    Creator() {
        for (AttributeRule const& rule : P::rules()) {
            auto const type
                = rule.whole ? nvinfer1::PluginFieldType::kINT32 : nvinfer1::PluginFieldType::kFLOAT32;
            mFields.emplace_back(rule.name, nullptr, type, rule.most);
        }
        mCollection = {static_cast<int32_t>(mFields.size()), mFields.data()};
    }

    // Null, with the problem on standard error, if an attribute is missing or wrong.
    nvinfer1::IPluginV3* createPlugin(char const* node, nvinfer1::PluginFieldCollection const* given,
        nvinfer1::TensorRTPhase) noexcept override {
        static constexpr nvinfer1::PluginFieldCollection kNone{};
        Attributes attributes;
        std::string problem = attributes.read(P::rules(), given == nullptr ? kNone : *given);
        if (problem.empty()) {
            problem = P::check(attributes);
        }
        if (!problem.empty()) {
            report(P::kName, "node " + std::string{node == nullptr ? "" : node} + ": " + problem);
            return nullptr;
        }
        return new P(std::move(attributes));
    }

    nvinfer1::PluginFieldCollection const* getFieldNames() noexcept override { return &mCollection; }
    char const* getPluginName() const noexcept override { return P::kName; }
    char const* getPluginVersion() const noexcept override { return kVersion; }
    char const* getPluginNamespace() const noexcept override { return kNamespace; }

private:
    std::vector<nvinfer1::PluginField> mFields;
    nvinfer1::PluginFieldCollection mCollection{};
};

}  // namespace maskrt
