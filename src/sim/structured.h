#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sollol::sim {

/// A value that a JSON schema allows, chosen by `seed`: objects have every property, arrays as many
/// items as asked for. Understands type, properties, items, enum, const, anyOf, oneOf, allOf, $ref
/// into the schema itself, minItems, minimum, maximum, minLength; what it does not understand it
/// fills with a short string.
boost::json::value answer_schema(const boost::json::value& schema, std::uint64_t seed);

/// What `format: "json"` yields: an object of a few fields.
boost::json::object any_object(std::uint64_t seed);

/// The embedding of a text: L2-normalised, `dimensions` numbers, a function of model and text.
/// Texts that share words point in similar directions.
std::vector<float> embed(std::string_view model, std::string_view text, std::uint32_t dimensions);

}  // namespace sollol::sim
