#include "attributes.h"

#include <cstring>
#include <sstream>

namespace maskrt {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

// Shorter than a double has digits, so that 0.1F is written as 0.1.
constexpr int kDigits = 9;

std::string written(double value) {
    std::ostringstream text;
    text.precision(kDigits);
    text << value;
    return text.str();
}

// The field's values as doubles; none where its type is another one.
std::vector<double> valuesOf(PluginField const& field, bool whole) {
    std::vector<double> values;
    for (int32_t i = 0; field.data != nullptr && i < field.length; ++i) {
        if (whole && field.type == PluginFieldType::kINT32) {
            values.push_back(static_cast<int32_t const*>(field.data)[i]);
        } else if (whole && field.type == PluginFieldType::kINT64) {
            values.push_back(static_cast<double>(static_cast<int64_t const*>(field.data)[i]));
        } else if (!whole && field.type == PluginFieldType::kFLOAT32) {
            values.push_back(static_cast<float const*>(field.data)[i]);
        }
    }
    return values;
}

PluginField const* find(nvinfer1::PluginFieldCollection const& given, char const* name) {
    for (int32_t i = 0; i < given.nbFields; ++i) {
        if (std::strcmp(given.fields[i].name, name) == 0) {
            return &given.fields[i];
        }
    }
    return nullptr;
}

std::string expected(AttributeRule const& rule) {
    std::string const kind = rule.whole ? "int32" : "float32";
    std::string const count = rule.most == 1 ? "one " : "1 to " + written(rule.most) + " ";
    return "give " + count + kind + " from " + written(rule.low) + " to " + written(rule.high);
}

}  // namespace

std::string Attributes::read(
    std::vector<AttributeRule> const& rules, nvinfer1::PluginFieldCollection const& given) {
    mValues.clear();
    for (AttributeRule const& rule : rules) {
        std::string const name = rule.name;
        PluginField const* const field = find(given, rule.name);
        if (field == nullptr) {
            return name + " is missing; " + expected(rule);
        }
        std::vector<double> const values = valuesOf(*field, rule.whole);
        if (values.empty()) {
            return name + " has no values of its type; " + expected(rule);
        }
        if (values.size() > static_cast<size_t>(rule.most)) {
            return name + " has " + std::to_string(values.size()) + " values; " + expected(rule);
        }
        Value kept{rule.name, {}, {}};
        for (double const value : values) {
            if (!(value >= rule.low && value <= rule.high)) {  // so that NaN is refused too
                return name + " is " + written(value) + "; " + expected(rule);
            }
            if (rule.whole) {
                kept.whole.push_back(static_cast<int32_t>(value));
            } else {
                kept.number.push_back(static_cast<float>(value));
            }
        }
        mValues.push_back(std::move(kept));
    }
    return {};
}

nvinfer1::PluginFieldCollection const* Attributes::fields() {
    mFields.clear();
    for (Value const& value : mValues) {
        if (value.number.empty()) {
            mFields.emplace_back(value.name, value.whole.data(), PluginFieldType::kINT32,
                static_cast<int32_t>(value.whole.size()));
        } else {
            mFields.emplace_back(value.name, value.number.data(), PluginFieldType::kFLOAT32,
                static_cast<int32_t>(value.number.size()));
        }
    }
    mCollection = {static_cast<int32_t>(mFields.size()), mFields.data()};
    return &mCollection;
}

}  // namespace maskrt
