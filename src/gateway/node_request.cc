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

Result<void> read_text(const json::object& fields, std::string_view key, std::string& into) {
  const auto* value = fields.if_contains(key);
  if (value == nullptr || value->is_null()) return {};
  if (!value->is_string())
    return std::unexpected(bad_input(fmt::format("{}: must be text in quotes", key)));
  into = std::string(value->as_string());
  return {};
}

/// A word that was said, if it can be one.
Result<void> take(Result<std::string> checked, std::string_view key, const std::string& said,
                  std::string& into) {
  if (said.empty()) return {};
  if (!checked)
    return std::unexpected(bad_input(fmt::format("{}: {}", key, checked.error().detail)));
  into = *std::move(checked);
  return {};
}

}  // namespace

Result<NodeRequest> make_node_request(const NodeWords& words) {
  if (words.url.empty())
    return std::unexpected(bad_input("url: missing; write it as http://HOST:11434"));
  const auto spec = discovery::parse_node_url(words.url);
  if (!spec) return std::unexpected(bad_input("url: " + spec.error().detail));
  NodeRequest request{.info = to_node_info(*spec)};
  cluster::NodeInfo& info = request.info;
  info.origin = admin_origin;
  info.tier = words.priority;
  info.slots = words.slots;
  for (const Result<void>& taken :
       {take(discovery::parse_node_name(words.name), "name", words.name, info.name),
        take(discovery::parse_node_label(words.host, "host"), "host", words.host, info.machine),
        take(discovery::parse_node_label(words.device, "device"), "device", words.device,
             info.device)}) {
    if (!taken) return std::unexpected(taken.error());
  }
  return request;
}

Result<NodeRequest> parse_node_request(std::string_view body) {
  boost::system::error_code bad;
  const json::value parsed = json::parse(body, bad);
  if (bad || !parsed.is_object())
    return std::unexpected(bad_input(R"(the body is not JSON; send {"url":"http://HOST:11434"})"));
  const json::object& fields = parsed.as_object();
  NodeWords words;
  bool probes = false;
  bool saves = false;
  for (const Result<void>& read :
       {read_text(fields, "url", words.url), read_text(fields, "name", words.name),
        read_text(fields, "host", words.host), read_text(fields, "device", words.device),
        read_count(fields, "priority", words.priority), read_count(fields, "slots", words.slots),
        read_switch(fields, "auto_probe", probes), read_switch(fields, "save", saves)}) {
    if (!read) return std::unexpected(read.error());
  }
  auto request = make_node_request(words);
  if (!request) return request;
  request->probe = probes ? AutoProbe::on : AutoProbe::off;
  request->save = saves;
  return request;
}

}  // namespace sollol::gateway
