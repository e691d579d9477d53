#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sollol::http {

/// The fields that a gateway treats by name. Everything else is `other` and passes through.
enum class FieldId : std::uint8_t {
  other,
  // Hop-by-hop (RFC 9110 §7.6.1): never forwarded.
  connection,
  keep_alive,
  proxy_connection,
  proxy_authenticate,
  proxy_authorization,
  te,
  trailer,
  transfer_encoding,
  upgrade,
  // Rewritten or consumed.
  content_length,
  expect,
  host,
  origin,
  forwarded,
  x_forwarded_for,
  x_forwarded_host,
  x_forwarded_proto,
  x_request_id,
  access_control,  // Access-Control-* of either direction
  sollol,          // X-Sollol-*: for the gateway, not for nodes
  // Read and passed.
  accept_encoding,
  authorization,
  content_encoding,
  x_api_key,
  sec_fetch_site,
  content_type,
  user_agent,
  date,
  server,
};

constexpr bool is_hop_by_hop(FieldId id) noexcept {
  return id >= FieldId::connection && id <= FieldId::upgrade;
}

/// One header field; both views point into the parsed bytes.
struct Field {
  std::string_view name;   // as written
  std::string_view value;  // without surrounding white space
  FieldId id = FieldId::other;
};

/// Bounds of a head. Source of the defaults: nginx's large_client_header_buffers (4 × 8 KiB),
/// doubled.
struct HeadLimits {
  std::size_t bytes_max = 65536;
  std::size_t fields_max = 128;  // at most `field_capacity`
};
inline constexpr std::size_t field_capacity = 128;

/// The fields of a head, in order.
struct Fields {
  std::array<Field, field_capacity> items;
  std::size_t count = 0;

  std::span<const Field> all() const noexcept { return {items.data(), count}; }
  /// The first field of that name, compared without case; empty view when absent.
  std::string_view find(std::string_view name) const noexcept;
  std::string_view find(FieldId id) const noexcept;
};

/// What Content-Length and Transfer-Encoding say about the body that follows a head.
struct Framing {
  enum class Kind : std::uint8_t { none, sized, chunked, until_close };
  Kind kind = Kind::none;
  std::uint64_t length = 0;  // for `sized`
};

struct RequestHead {
  std::string_view method;
  std::string_view target;     // origin form: path and query
  std::string_view authority;  // Host, or the authority of an absolute-form target
  int minor_version = 1;       // HTTP/1.0 or HTTP/1.1
  bool keep_alive = true;      // as the client asks
  bool expects_continue = false;
  Framing framing;
  Fields fields;

  std::string_view path() const noexcept { return target.substr(0, target.find('?')); }
  std::string_view query() const noexcept;
};

struct ResponseHead {
  int status = 0;
  std::string_view reason;
  int minor_version = 1;
  bool keep_alive =
      true;  // as the node says; a body that lasts until it closes ends the connection all the same
  Framing framing;  // of a response to anything but HEAD: see `response_framing`
  Fields fields;
};

/// What became of a parse: `length` bytes of head, more bytes wanted, or an answer to send before
/// closing.
struct HeadParse {
  enum class State : std::uint8_t { complete, incomplete, bad };
  State state = State::incomplete;
  std::size_t length = 0;      // complete: bytes up to and with the blank line
  int status = 0;              // bad: the HTTP status to answer with
  std::string_view problem{};  // bad: what was wrong, for a human
};

/// Parses a request head at the start of `bytes`. Views in `out` point into `bytes`.
///
/// Strict where leniency lets two parsers disagree (request smuggling): lines end in CRLF, no
/// folding, no space before a colon, no control characters, at most one Content-Length and it is
/// plain digits, no Content-Length beside Transfer-Encoding, `chunked` alone as transfer coding,
/// no name that imitates one of the two, exactly one well-formed Host in HTTP/1.1, and the same one
/// in an absolute target. Source: RFC 9112. O(bytes), allocates nothing, any thread.
HeadParse parse_request_head(std::string_view bytes, const HeadLimits& limits, RequestHead& out);

/// Parses a response head, equally strict about what decides the framing.
HeadParse parse_response_head(std::string_view bytes, const HeadLimits& limits, ResponseHead& out);

/// The body that follows `head` when the request had `method` (RFC 9112 §6.3): none for HEAD, 1xx,
/// 204 and 304.
Framing response_framing(const ResponseHead& head, std::string_view method) noexcept;

/// A redirect: no node has a reason to send one, and nobody follows it.
constexpr bool is_redirect(int status) noexcept {
  return status >= 300 && status < 400 && status != 304;
}

/// Compares two tokens without regard to ASCII case.
bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept;

/// The reason phrase of a status code; "Status" when unknown.
std::string_view reason_phrase(int status) noexcept;

}  // namespace sollol::http
