#include "gateway/node_request.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <utility>

#include "discovery/node_spec.h"
#include "gateway/node_connector.h"
#include "gateway/nodes.h"

namespace sollol::gateway {

namespace json = boost::json;

namespace {

constexpr std::int64_t count_max = 1'000'000;

Result<void> read_count(const json::object& fields, std::string_view key, std::uint32_t& into) {
  const auto* value = fields.if_contains(key);
  if (value == nullptr) return {};
  if (!value->is_int64() || value->as_int64() < 0 || value->as_int64() > count_max)
    return std::unexpected(bad_input(fmt::format("{}: must be a whole number of at least 0", key)));
  into = static_cast<std::uint32_t>(value->as_int64());
  return {};
}

Result<void> read_switch(const json::object& fields, std::string_view key, bool& into) {
  const auto* value = fields.if_contains(key);
  if (value == nullptr) return {};
  if (!value->is_bool())
    return std::unexpected(bad_input(fmt::format("{}: must be true or false", key)));
  into = value->as_bool();
  return {};
}

using Check = Result<std::string> (*)(std::string_view text, std::string_view field);

/// A word; an empty one counts as not said.
Result<void> read_word(const json::object& fields, std::string_view key, Check check,
                       std::string& into) {
  const auto* value = fields.if_contains(key);
  if (value == nullptr || value->is_null()) return {};
  if (!value->is_string())
    return std::unexpected(bad_input(fmt::format("{}: must be text in quotes", key)));
  const std::string_view text = value->as_string();
  if (text.empty()) return {};
  auto checked = check(text, key);
  if (!checked)
    return std::unexpected(bad_input(fmt::format("{}: {}", key, checked.error().detail)));
  into = *std::move(checked);
  return {};
}

Result<std::string> check_name(std::string_view text, std::string_view) {
  return discovery::parse_node_name(text);
}

}  // namespace

Result<NodeRequest> parse_node_request(std::string_view body) {
  boost::system::error_code bad;
  const json::value parsed = json::parse(body, bad);
  if (bad || !parsed.is_object())
    return std::unexpected(bad_input(R"(the body is not JSON; send {"url":"http://HOST:11434"})"));
  const json::object& fields = parsed.as_object();
  const auto* url = fields.if_contains("url");
  if (url == nullptr || !url->is_string())
    return std::unexpected(bad_input("url: missing; write it as http://HOST:11434"));
  const auto spec = discovery::parse_node_url(std::string_view(url->as_string()));
  if (!spec) return std::unexpected(bad_input("url: " + spec.error().detail));

  NodeRequest request{.info = to_node_info(*spec)};
  request.info.origin = admin_origin;
  bool probes = false;
  for (const Result<void>& read :
       {read_word(fields, "name", check_name, request.info.name),
        read_word(fields, "host", discovery::parse_node_label, request.info.machine),
        read_word(fields, "device", discovery::parse_node_label, request.info.device),
        read_count(fields, "priority", request.info.tier),
        read_count(fields, "slots", request.info.slots), read_switch(fields, "auto_probe", probes),
        read_switch(fields, "save", request.save)}) {
    if (!read) return std::unexpected(read.error());
  }
  request.probe = probes ? AutoProbe::on : AutoProbe::off;
  return request;
}

}  // namespace sollol::gateway
