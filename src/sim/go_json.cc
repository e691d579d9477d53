#include "sim/go_json.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/stream_parser.hpp>
#include <cmath>

#include "sim/go_syntax.h"

namespace sollol::sim {
namespace json = boost::json;

namespace {

/// The length of the UTF-8 character at the head of `text`, 0 when there is none.
std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto follows = [&](std::size_t i) { return i < text.size() && (at(i) & 0xc0) == 0x80; };
  if (at(0) < 0x80) return 1;
  if (at(0) >= 0xc2 && at(0) < 0xe0) return follows(1) ? 2 : 0;
  if ((at(0) & 0xf0) == 0xe0) return follows(1) && follows(2) ? 3 : 0;
  if (at(0) >= 0xf0 && at(0) < 0xf5) return follows(1) && follows(2) && follows(3) ? 4 : 0;
  return 0;
}

void append_escaped(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\b':
      out += "\\b";
      break;
    case '\f':
      out += "\\f";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
  }
}

/// Go writes a plain decimal between 1e-6 and 1e21 and the exponent without leading zeros beyond.
template <class Float>
void append_float(std::string& out, Float value) {
  const auto magnitude = std::abs(value);
  if (value == 0) {
    out += '0';
  } else if (magnitude >= Float(1e-6) && magnitude < Float(1e21)) {
    const auto shortest = fmt::format("{:e}", value);
    const auto text = fmt::format("{}", value);
    if (!text.contains('e')) {
      out += text;
      return;
    }
    // fmt prefers the exponent sooner than Go does: as many decimals as the shortest form has
    // digits.
    const auto shortest_text = fmt::format("{}", value);
    const auto e = shortest_text.find('e');
    const int exponent = std::stoi(shortest_text.substr(e + 1));
    const auto dot = shortest_text.find('.');
    const int decimals = dot == std::string::npos ? 0 : static_cast<int>(e - dot - 1);
    out += fmt::format("{:.{}f}", value, std::max(0, decimals - exponent));
  } else {
    auto text = fmt::format("{}", value);
    const auto e = text.find('e');
    if (e != std::string::npos && text.size() > e + 3 && text[e + 2] == '0') text.erase(e + 2, 1);
    out += text;
  }
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    const auto length = utf8_length(text.substr(i, 4));
    const auto character = text.substr(i, length);
    if (length == 0) {
      out += "\\ufffd";
    } else if (length > 1) {
      if (character == "\u2028") {
        out += "\\u2028";
      } else if (character == "\u2029") {
        out += "\\u2029";
      } else {
        out += character;
      }
    } else if (static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\' || c == '<' ||
               c == '>' || c == '&') {
      append_escaped(out, c);
    } else {
      out += c;
    }
    i += std::max<std::size_t>(length, 1);
  }
  out += '"';
}

void append_json_number(std::string& out, double value) { append_float(out, value); }
void append_json_number(std::string& out, float value) { append_float(out, value); }

void append_json(std::string& out, const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      out += "null";
      break;
    case json::kind::bool_:
      out += value.get_bool() ? "true" : "false";
      break;
    case json::kind::int64:
      out += std::to_string(value.get_int64());
      break;
    case json::kind::uint64:
      out += std::to_string(value.get_uint64());
      break;
    case json::kind::double_:
      append_json_number(out, value.get_double());
      break;
    case json::kind::string:
      append_json_string(out, value.get_string());
      break;
    case json::kind::array: {
      char separator = '[';
      for (const auto& item : value.get_array()) {
        out += separator;
        append_json(out, item);
        separator = ',';
      }
      out += separator == '[' ? "[]" : "]";
      break;
    }
    case json::kind::object: {
      char separator = '{';
      for (const auto& [key, item] : value.get_object()) {
        out += separator;
        append_json_string(out, key);
        out += ':';
        append_json(out, item);
        separator = ',';
      }
      out += separator == '{' ? "{}" : "}";
    }
  }
}

std::string to_json(const json::value& value) {
  std::string out;
  append_json(out, value);
  return out;
}

Result<json::value> parse_json(std::string_view text) {
  json::parse_options options;
  options.allow_invalid_utf8 = true;
  options.max_depth = 10'000;
  json::stream_parser parser({}, options);
  json::error_code error;
  parser.write_some(text.data(), text.size(), error);
  if (!error && !parser.done()) parser.finish(error);
  if (error) return std::unexpected(bad_input(go_syntax_error(text)));
  return parser.release();
}

std::string go_timestamp(WallTime time, int utc_offset_minutes) {
  using namespace std::chrono;
  const auto whole = floor<seconds>(time);
  auto out = fmt::format("{:%Y-%m-%dT%H:%M:%S}",
                         fmt::gmtime(system_clock::to_time_t(whole + minutes{utc_offset_minutes})));
  if (const auto nanos = duration_cast<nanoseconds>(time - whole).count(); nanos != 0) {
    out += fmt::format(".{:09}", nanos);
    out.erase(out.find_last_not_of('0') + 1);
  }
  if (utc_offset_minutes == 0) return out + "Z";
  const auto offset = std::abs(utc_offset_minutes);
  return out +
         fmt::format("{}{:02}:{:02}", utc_offset_minutes < 0 ? '-' : '+', offset / 60, offset % 60);
}

std::string http_date(WallTime time) {
  return fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

Result<Duration> parse_go_duration(std::string_view text) {
  const auto fail = [&](std::string_view what) {
    std::string quoted;
    append_json_string(quoted, text);
    return std::unexpected(bad_input(fmt::format("time: {} duration {}", what, quoted)));
  };
  auto rest = text;
  const bool negative = rest.starts_with('-');
  if (rest.starts_with('-') || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return Duration::zero();
  if (rest.empty()) return fail("invalid");
  static constexpr std::pair<std::string_view, double> units[] = {
      {"ns", 1e-9}, {"us", 1e-6}, {"\u00b5s", 1e-6}, {"ms", 1e-3},
      {"s", 1},     {"m", 60},    {"h", 3600}};
  double total_s = 0;
  while (!rest.empty()) {
    const auto digits = std::min(rest.find_first_not_of("0123456789."), rest.size());
    if (digits == 0 || rest.substr(0, digits) == ".") return fail("invalid");
    const double number = std::strtod(std::string(rest.substr(0, digits)).c_str(), nullptr);
    rest.remove_prefix(digits);
    const auto length = std::min(rest.find_first_of("0123456789."), rest.size());
    if (length == 0) return fail("missing unit in");
    const auto* unit = std::ranges::find(units, rest.substr(0, length),
                                         &std::pair<std::string_view, double>::first);
    if (unit == std::end(units)) return fail("unknown unit in");
    total_s += number * unit->second;
    rest.remove_prefix(length);
  }
  return from_seconds(negative ? -total_s : total_s);
}

}  // namespace sollol::sim
