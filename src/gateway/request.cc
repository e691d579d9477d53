#include "gateway/request.h"

#include <algorithm>
#include <charconv>
#include <functional>

#include "http/append.h"

namespace sollol::gateway {

using http::FieldId;

namespace {

constexpr std::size_t request_id_max = 128;

cluster::Urgency parse_urgency(std::string_view text) {
  if (http::equals_ignoring_case(text, "high") || http::equals_ignoring_case(text, "interactive")) {
    return cluster::Urgency::interactive;
  }
  if (http::equals_ignoring_case(text, "low") || http::equals_ignoring_case(text, "batch")) {
    return cluster::Urgency::batch;
  }
  return cluster::Urgency::normal;
}

void take_own_field(const http::Field& field, Request& out) {
  const std::string_view name = field.name.substr(std::string_view("x-sollol-").size());
  if (http::equals_ignoring_case(name, "node")) out.wanted_node = field.value;
  if (http::equals_ignoring_case(name, "session")) out.session = field.value;
  if (http::equals_ignoring_case(name, "priority")) out.urgency = parse_urgency(field.value);
  if (http::equals_ignoring_case(name, "resume")) {
    out.resume = !http::equals_ignoring_case(field.value, "off") && field.value != "0" &&
                 !http::equals_ignoring_case(field.value, "false");
  }
  if (http::equals_ignoring_case(name, "via"))
    http::append(out.via, http::separator_after(out.via), field.value);
  if (http::equals_ignoring_case(name, "explain")) out.wants_reason = field.value != "0";
}

/// `Bearer TOKEN`, or the bare token of x-api-key. Two that differ are no credential at all.
void take_credential(const http::Field& field, Request& out) {
  http::append(out.credential_fields, field.name, ": ", field.value, "\r\n");
  std::string_view token = field.value;
  if (field.id == FieldId::authorization) {
    constexpr std::string_view scheme = "bearer ";
    if (!http::equals_ignoring_case(token.substr(0, scheme.size()), scheme)) return;
    token.remove_prefix(scheme.size());
    while (token.starts_with(' ')) token.remove_prefix(1);
  }
  const bool first = out.credential.empty();
  out.credential = first || out.credential == token ? token : std::string_view("ambiguous");
}

void pass(const http::Field& field, Request& out) {
  http::append(out.pass_fields, field.name, ": ", field.value, "\r\n");
}

/// Whether `name` is listed in Connection: then the field is hop-by-hop too (RFC 9110 §7.6.1).
bool listed(const http::Fields& fields, std::string_view name) {
  for (const http::Field& field : fields.all()) {
    if (field.id != FieldId::connection) continue;
    for (std::string_view rest = field.value; !rest.empty();) {
      const std::size_t comma = rest.find(',');
      std::string_view token = rest.substr(0, comma);
      while (token.starts_with(' ') || token.starts_with('\t')) token.remove_prefix(1);
      while (token.ends_with(' ') || token.ends_with('\t')) token.remove_suffix(1);
      if (http::equals_ignoring_case(token, name)) return true;
      rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
    }
  }
  return false;
}

/// Whether any Connection field says more than the two usual words.
bool lists_fields(const http::Fields& fields) {
  return std::ranges::any_of(fields.all(), [](const http::Field& field) {
    return field.id == FieldId::connection && !field.value.empty() &&
           !http::equals_ignoring_case(field.value, "keep-alive") &&
           !http::equals_ignoring_case(field.value, "close");
  });
}

}  // namespace

void Request::clear() {
  for (std::string* text :
       {&id, &method, &target, &pass_fields, &content_encoding, &content_type, &origin, &credential,
        &credential_fields, &fetch_site, &wanted_node, &session, &via, &forwarded_for})
    text->clear();
  path_length = 0;
  route = {};
  client_key = 0;
  key = nullptr;
  urgency = cluster::Urgency::normal;
  framing = {};
  keep_alive = true;
  expects_continue = wants_reason = false;
  resume = true;
  outcome = {};
}

void take_head(const http::RequestHead& head, Request& out) {
  out.method = head.method;
  out.target = head.target;
  out.path_length = head.path().size();
  out.authority = head.authority;
  out.framing = head.framing;
  out.minor_version = head.minor_version;
  out.keep_alive = head.keep_alive;
  out.expects_continue = head.expects_continue;
  std::string_view authorization;
  const bool lists = lists_fields(head.fields);
  for (const http::Field& field : head.fields.all()) {
    switch (field.id) {
      case FieldId::sollol:
        take_own_field(field, out);
        break;
      case FieldId::x_request_id:
        if (field.value.size() <= request_id_max) out.id = field.value;
        break;
      case FieldId::origin:
        out.origin = field.value;
        break;
      case FieldId::x_forwarded_for:
        http::append(out.forwarded_for, http::separator_after(out.forwarded_for), field.value);
        break;
      case FieldId::content_encoding:  // a body that goes on is plain
        http::append(out.content_encoding, http::separator_after(out.content_encoding),
                     field.value);
        break;
      case FieldId::content_type:
        out.content_type = field.value;
        pass(field, out);
        break;
      case FieldId::authorization:
        authorization = field.value;
        take_credential(field, out);
        break;
      case FieldId::x_api_key:
        take_credential(field, out);
        break;
      case FieldId::sec_fetch_site:
        out.fetch_site = field.value;
        break;
      case FieldId::host:
      case FieldId::content_length:
      case FieldId::expect:
      case FieldId::forwarded:
      case FieldId::x_forwarded_host:
      case FieldId::x_forwarded_proto:
      case FieldId::access_control:
        break;
      default:
        if (http::is_hop_by_hop(field.id)) break;
        if (lists && listed(head.fields, field.name)) break;
        pass(field, out);
    }
  }
  if (const std::string_view node = api::query_value(out.query(), "node");
      !node.empty() && out.wanted_node.empty()) {
    out.wanted_node = node;
  }
  out.client_key = std::hash<std::string_view>{}(out.client) ^
                   (std::hash<std::string_view>{}(authorization) << 1);
}

}  // namespace sollol::gateway
