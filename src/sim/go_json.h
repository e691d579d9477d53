#pragma once

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace sollol::sim {

/// A value as Go's encoding/json writes it: compact, insertion order, `<`, `>`, `&`, U+2028 and
/// U+2029 escaped.
std::string to_json(const boost::json::value& value);
void append_json(std::string& out, const boost::json::value& value);
void append_json_string(std::string& out, std::string_view text);
void append_json_number(std::string& out, double value);
void append_json_number(std::string& out, float value);

/// Reads the first JSON value of a text, ignoring what follows it, as Go's decoder does.
/// Error: in the words of Go's decoder ("unexpected EOF", "invalid character 'x' looking for
/// beginning of value").
Result<boost::json::value> parse_json(std::string_view text);

/// RFC 3339 with up to nine fractional digits, trailing zeros cut, as Go writes it.
std::string go_timestamp(WallTime time, int utc_offset_minutes = 0);

/// "Fri, 21 Aug 2026 10:00:00 GMT".
std::string http_date(WallTime time);

/// A Go duration ("5m", "1h30m", "-1m", "0"); the error is Go's.
Result<Duration> parse_go_duration(std::string_view text);

}  // namespace sollol::sim
