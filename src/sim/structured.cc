#include "sim/structured.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <cmath>
#include <string>
#include <vector>

#include "sim/hash.h"
#include "sim/text.h"

namespace sollol::sim {
namespace json = boost::json;

namespace {

constexpr int depth_max = 12;  // a schema may refer to itself

std::string some_words(std::uint64_t seed, std::size_t length_min) {
  TextStream words("structured", seed, 1000, "");
  std::string out;
  for (int i = 0; i < 2 || out.size() < length_min; ++i) out += words.next().value_or(" ");
  return out;
}

double number_or(const json::object& schema, std::string_view key, double fallback) {
  const auto* found = schema.if_contains(key);
  return found != nullptr && found->is_number() ? found->to_number<double>() : fallback;
}

class Filler {
 public:
  explicit Filler(const json::value& root) : root_(root) {}

  json::value fill(const json::value& schema, std::uint64_t seed,
                   int depth) const {  // NOLINT(misc-no-recursion)
    const auto* object = schema.if_object();
    if (object == nullptr || depth > depth_max) return json::string(some_words(seed, 0));
    if (const auto* ref = object->if_contains("$ref"); ref != nullptr && ref->is_string()) {
      const auto* target = resolve(ref->get_string());
      return target == nullptr ? json::value(nullptr) : fill(*target, seed, depth + 1);
    }
    if (const auto* constant = object->if_contains("const")) return *constant;
    for (const char* choice : {"enum", "anyOf", "oneOf", "allOf"}) {
      const auto* options = object->if_contains(choice);
      if (options == nullptr || !options->is_array() || options->get_array().empty()) continue;
      const auto& picked = options->get_array()[mix(seed) % options->get_array().size()];
      return std::string_view(choice) == "enum" ? picked : fill(picked, seed, depth + 1);
    }
    return fill_type(*object, seed, depth);
  }

 private:
  /// "#/$defs/Name"; no escapes.
  const json::value* resolve(std::string_view ref) const {
    const auto* at = &root_;
    if (!ref.starts_with("#")) return nullptr;
    ref.remove_prefix(1);
    while (at != nullptr && ref.starts_with('/')) {
      const auto end = std::min(ref.find('/', 1), ref.size());
      at = at->is_object() ? at->get_object().if_contains(ref.substr(1, end - 1)) : nullptr;
      ref.remove_prefix(end);
    }
    return at;
  }

  static std::string type_of(const json::object& schema) {
    const auto* type = schema.if_contains("type");
    if (type != nullptr && type->is_array() && !type->get_array().empty())
      type = &type->get_array().front();
    if (type != nullptr && type->is_string()) return std::string(type->get_string());
    return schema.contains("properties") ? "object" : schema.contains("items") ? "array" : "string";
  }

  json::value fill_type(const json::object& schema, std::uint64_t seed,
                        int depth) const {  // NOLINT(misc-no-recursion)
    const auto type = type_of(schema);
    if (type == "object") return fill_object(schema, seed, depth);
    if (type == "array") {
      json::array out;
      const auto* items = schema.if_contains("items");
      const auto count = std::clamp(number_or(schema, "minItems", 1), 1.0, 64.0);
      for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(count); ++i) {
        out.push_back(items == nullptr ? json::value(some_words(mix(seed + i), 0))
                                       : fill(*items, mix(seed + i), depth + 1));
      }
      return out;
    }
    if (type == "boolean") return (mix(seed) & 1) == 1;
    if (type == "null") return nullptr;
    if (type == "integer" || type == "number") {
      const auto low = number_or(schema, "minimum", number_or(schema, "exclusiveMinimum", 0));
      const auto high = std::max(
          low, number_or(schema, "maximum", number_or(schema, "exclusiveMaximum", low + 100)));
      const auto value =
          low + std::floor((high - low) * 0.5 * (1 + static_cast<double>(mix(seed) % 100) / 101));
      return type == "integer" ? json::value(static_cast<std::int64_t>(std::ceil(value)))
                               : json::value(value + 0.0);
    }
    return json::string(some_words(seed, static_cast<std::size_t>(std::clamp(
                                             number_or(schema, "minLength", 0), 0.0, 4096.0))));
  }

  json::value fill_object(const json::object& schema, std::uint64_t seed,
                          int depth) const {  // NOLINT(misc-no-recursion)
    json::object out;
    if (const auto* properties = schema.if_contains("properties");
        properties != nullptr && properties->is_object()) {
      for (const auto& [name, property] : properties->get_object()) {
        out[name] = fill(property, mix(seed ^ hash_text(name)), depth + 1);
      }
    }
    return out;
  }

  const json::value& root_;
};

}  // namespace

json::value answer_schema(const json::value& schema, std::uint64_t seed) {
  return Filler(schema).fill(schema, seed, 0);
}

json::object any_object(std::uint64_t seed) {
  return {{"answer", some_words(seed, 0)},
          {"score", static_cast<std::int64_t>(mix(seed) % 100)},
          {"certain", (mix(seed) & 1) == 1},
          {"words", json::array{some_words(mix(seed), 0), some_words(mix(seed + 1), 0)}}};
}

std::vector<float> embed(std::string_view model, std::string_view text, std::uint32_t dimensions) {
  std::vector<float> out(dimensions, 0.0F);
  const auto add = [&](std::string_view word, float weight) {
    auto state = mix(hash_text(word, hash_text(model)));
    for (auto& x : out) {
      state = mix(state);
      x += weight * (static_cast<float>(state >> 40) / static_cast<float>(1U << 23) - 1.0F);
    }
  };
  std::size_t start = 0;
  constexpr int words_max = 32;  // enough to tell texts apart, cheap for long ones
  for (int count = 0; count < words_max && start < text.size(); ++count) {
    const auto end = std::min(text.find_first_of(" \n\t", start), text.size());
    if (end > start) add(text.substr(start, end - start), 1.0F);
    start = end + 1;
  }
  add(text, 0.5F);
  double square = 0;
  for (const float x : out) square += static_cast<double>(x) * static_cast<double>(x);
  for (auto& x : out) x = static_cast<float>(static_cast<double>(x) / std::sqrt(square));
  return out;
}

}  // namespace sollol::sim
