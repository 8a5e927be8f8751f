// A node's attributes: read from TensorRT's plugin fields with a check, kept, and given back when a
// plan is written.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <vector>

namespace maskrt {

// What an operator asks of one attribute.
struct AttributeRule {
    char const* name;
    bool whole;        // int32 values, or float ones
    double low, high;  // of each value, both included
    int32_t most;      // as many values as this, at least one
};

class Attributes {
public:
    // Reads every attribute that the rules name. Returns what is wrong with the first wrong one, with
    // its name and value and what to give, or nothing.
    std::string read(std::vector<AttributeRule> const& rules, nvinfer1::PluginFieldCollection const& given);

    // Values by the rule's place.
    int32_t whole(size_t rule) const { return mValues[rule].whole.front(); }
    float number(size_t rule) const { return mValues[rule].number.front(); }
    std::vector<int32_t> const& wholes(size_t rule) const { return mValues[rule].whole; }

    // The same attributes as fields; good until this object changes or goes.
    nvinfer1::PluginFieldCollection const* fields();

private:
    struct Value {
        char const* name{};
        std::vector<int32_t> whole;
        std::vector<float> number;
    };
    std::vector<Value> mValues;
    std::vector<nvinfer1::PluginField> mFields;
    nvinfer1::PluginFieldCollection mCollection{};
};

}  // namespace maskrt
