// Runs one plugin through IPluginV3 as TensorRT would, without TensorRT: made from fields, written and
// read again as a plan does, attached, told its shapes, and enqueued on the caller's pointers.
// Plain C for a caller: `plugins/host/__init__.py`.
#include <NvInferRuntime.h>

#include <dlfcn.h>

#include <cstring>
#include <memory>
#include <vector>

namespace {

using namespace nvinfer1;

struct Tensor {
    int32_t type, format, rank, unused;
    int64_t d[8];
};

PluginTensorDesc descOf(Tensor const& tensor) {
    PluginTensorDesc desc{};
    desc.type = static_cast<DataType>(tensor.type);
    desc.format = static_cast<TensorFormat>(tensor.format);
    desc.dims.nbDims = tensor.rank;
    std::memcpy(desc.dims.d, tensor.d, sizeof(tensor.d));
    return desc;
}

template <typename Capability>
Capability* capability(IPluginV3* plugin, PluginCapabilityType type) {
    return static_cast<Capability*>(plugin->getCapabilityInterface(type));
}

struct Host {
    std::unique_ptr<IPluginV3> built, attached;
    std::vector<PluginTensorDesc> in, out;
};

IPluginCreatorV3One* creatorOf(char const* library, char const* op) {
    void* const handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
        return nullptr;
    }
    using GetCreators = IPluginCreatorInterface* const* (*)(int32_t&);
    auto const getCreators = reinterpret_cast<GetCreators>(dlsym(handle, "getCreators"));
    int32_t count = 0;
    auto* const* const creators = getCreators == nullptr ? nullptr : getCreators(count);
    for (int32_t i = 0; i < count; ++i) {
        auto* const creator = static_cast<IPluginCreatorV3One*>(creators[i]);
        if (std::strcmp(creator->getPluginName(), op) == 0) {
            return creator;
        }
    }
    return nullptr;
}

}  // namespace

extern "C" {

// Null if the library lacks the operator or the operator refuses a field.
void* hostMake(char const* library, char const* op, int32_t fields, char const* const* names,
    void const* const* values, int32_t const* floats, int32_t const* lengths) {
    IPluginCreatorV3One* const creator = creatorOf(library, op);
    if (creator == nullptr) {
        return nullptr;
    }
    std::vector<PluginField> given;
    for (int32_t i = 0; i < fields; ++i) {
        given.emplace_back(names[i], values[i],
            floats[i] != 0 ? PluginFieldType::kFLOAT32 : PluginFieldType::kINT32, lengths[i]);
    }
    PluginFieldCollection const collection{fields, given.data()};
    auto host = std::make_unique<Host>();
    host->built.reset(creator->createPlugin("built", &collection, TensorRTPhase::kBUILD));
    if (!host->built) {
        return nullptr;
    }
    auto* const runtime = capability<IPluginV3OneRuntime>(host->built.get(), PluginCapabilityType::kRUNTIME);
    std::unique_ptr<IPluginV3> const read(
        creator->createPlugin("read", runtime->getFieldsToSerialize(), TensorRTPhase::kRUNTIME));
    if (!read) {
        return nullptr;
    }
    host->attached.reset(
        capability<IPluginV3OneRuntime>(read.get(), PluginCapabilityType::kRUNTIME)->attachToContext(nullptr));
    return host.release();
}

// Bytes of workspace, or -1 if the plugin refuses these types, formats or shapes.
int64_t hostPrepare(void* self, int32_t inputs, int32_t outputs, Tensor const* tensors) {
    auto* const host = static_cast<Host*>(self);
    auto* const build = capability<IPluginV3OneBuild>(host->built.get(), PluginCapabilityType::kBUILD);
    std::vector<DynamicPluginTensorDesc> all;
    std::vector<DataType> inTypes, outTypes(outputs);
    host->in.clear();
    host->out.clear();
    for (int32_t i = 0; i < inputs + outputs; ++i) {
        PluginTensorDesc const desc = descOf(tensors[i]);
        all.push_back({desc, desc.dims, desc.dims, desc.dims});
        (i < inputs ? host->in : host->out).push_back(desc);
        if (i < inputs) {
            inTypes.push_back(desc.type);
        }
    }
    if (build->getNbOutputs() != outputs
        || build->getOutputDataTypes(outTypes.data(), outputs, inTypes.data(), inputs) != 0) {
        return -1;
    }
    for (int32_t i = 0; i < inputs + outputs; ++i) {
        if ((i >= inputs && outTypes[i - inputs] != all[i].desc.type)
            || !build->supportsFormatCombination(i, all.data(), inputs, outputs)) {
            return -1;
        }
    }
    auto* const runtime
        = capability<IPluginV3OneRuntime>(host->attached.get(), PluginCapabilityType::kRUNTIME);
    if (build->configurePlugin(all.data(), inputs, all.data() + inputs, outputs) != 0
        || runtime->onShapeChange(host->in.data(), inputs, host->out.data(), outputs) != 0) {
        return -1;
    }
    return static_cast<int64_t>(build->getWorkspaceSize(all.data(), inputs, all.data() + inputs, outputs));
}

int32_t hostEnqueue(
    void* self, void const* const* inputs, void* const* outputs, void* workspace, void* stream) {
    auto* const host = static_cast<Host*>(self);
    return capability<IPluginV3OneRuntime>(host->attached.get(), PluginCapabilityType::kRUNTIME)
        ->enqueue(host->in.data(), host->out.data(), inputs, outputs, workspace,
            static_cast<cudaStream_t>(stream));
}

void hostFree(void* self) { delete static_cast<Host*>(self); }

}  // extern "C"
