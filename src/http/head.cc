#include "http/head.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace sollol::http {
namespace {

enum CharClass : std::uint8_t { token_char = 1, value_char = 2, target_char = 4 };

constexpr std::array<std::uint8_t, 256> make_char_table() {
  std::array<std::uint8_t, 256> table{};
  for (unsigned c = 0; c < 256; ++c) {
    const bool visible = c > 0x20 && c < 0x7f;
    if (visible) table[c] |= target_char;
    if (visible || c == ' ' || c == '\t' || c >= 0x80) table[c] |= value_char;
    const bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (alnum || (c < 0x80 && std::string_view("!#$%&'*+-.^_`|~").contains(static_cast<char>(c)) &&
                  c != 0)) {
      table[c] |= token_char;
    }
  }
  return table;
}
constexpr auto char_table = make_char_table();

bool is(char c, CharClass wanted) noexcept {
  return (char_table[static_cast<unsigned char>(c)] & wanted) != 0;
}
char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

constexpr std::size_t method_max = 32;

struct KnownField {
  std::string_view name;
  FieldId id;
};
constexpr KnownField known_fields[] = {
    {"te", FieldId::te},
    {"date", FieldId::date},
    {"host", FieldId::host},
    {"expect", FieldId::expect},
    {"origin", FieldId::origin},
    {"server", FieldId::server},
    {"trailer", FieldId::trailer},
    {"upgrade", FieldId::upgrade},
    {"forwarded", FieldId::forwarded},
    {"x-api-key", FieldId::x_api_key},
    {"connection", FieldId::connection},
    {"keep-alive", FieldId::keep_alive},
    {"user-agent", FieldId::user_agent},
    {"content-type", FieldId::content_type},
    {"x-request-id", FieldId::x_request_id},
    {"authorization", FieldId::authorization},
    {"content-length", FieldId::content_length},
    {"sec-fetch-site", FieldId::sec_fetch_site},
    {"accept-encoding", FieldId::accept_encoding},
    {"x-forwarded-for", FieldId::x_forwarded_for},
    {"content-encoding", FieldId::content_encoding},
    {"proxy-connection", FieldId::proxy_connection},
    {"x-forwarded-host", FieldId::x_forwarded_host},
    {"transfer-encoding", FieldId::transfer_encoding},
    {"x-forwarded-proto", FieldId::x_forwarded_proto},
    {"proxy-authenticate", FieldId::proxy_authenticate},
    {"proxy-authorization", FieldId::proxy_authorization},
};

/// Whether a name of token characters is `known`, which is of small letters and `-`: among token
/// characters, setting bit 5 makes these of their capitals and of themselves alone.
bool folds_to(std::string_view name, std::string_view known) noexcept {
  constexpr std::size_t word_size = sizeof(std::uint64_t);
  const std::size_t size = name.size();
  if (size < word_size) {
    return std::equal(name.begin(), name.end(), known.begin(),
                      [](char a, char b) { return (a | 0x20) == b; });
  }
  std::uint64_t differs = 0;
  const auto compare_at = [&](std::size_t at) {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::memcpy(&a, name.data() + at, word_size);
    std::memcpy(&b, known.data() + at, word_size);
    differs |= (a | 0x2020202020202020) ^ b;
  };
  for (std::size_t at = 0; at + word_size < size; at += word_size) compare_at(at);
  compare_at(size - word_size);
  return differs == 0;
}

// Runs of usual characters are passed eight at a time, as the bytes of a word; what stops there is
// looked at by the table. In each byte of such a mask only the highest bit counts.
constexpr std::uint64_t every_byte = 0x0101010101010101;
constexpr std::uint64_t high_bits = 0x80 * every_byte;

/// The bytes from `first` to `last` among bytes below 0x80.
constexpr std::uint64_t in_range(std::uint64_t ascii, unsigned first, unsigned last) noexcept {
  return (ascii + (0x80 - first) * every_byte) & ~(ascii + (0x7f - last) * every_byte);
}
constexpr std::uint64_t letters_and_dashes(std::uint64_t word) noexcept {
  const std::uint64_t ascii = word & ~high_bits;
  return (in_range(ascii | 0x20 * every_byte, 'a', 'z') | in_range(ascii, '-', '-')) & ~word;
}
constexpr std::uint64_t visible_or_blank(std::uint64_t word) noexcept {
  return in_range(word & ~high_bits, ' ', '~') & ~word;
}

/// The end of the run of characters of that class that begins at `at`; `usual` finds most of them.
template <class Usual>
std::size_t end_of_run(std::string_view bytes, std::size_t at, CharClass wanted,
                       Usual usual) noexcept {
  static_assert(std::endian::native == std::endian::little);
  for (std::uint64_t word = 0; at + sizeof word <= bytes.size();) {
    std::memcpy(&word, bytes.data() + at, sizeof word);
    const std::uint64_t others = ~usual(word) & high_bits;
    if (others != 0) {
      at += static_cast<std::size_t>(std::countr_zero(others)) / 8;
      break;
    }
    at += sizeof word;
  }
  while (at < bytes.size() && is(bytes[at], wanted)) ++at;
  return at;
}

std::size_t end_of_name(std::string_view bytes, std::size_t at) noexcept {
  return end_of_run(bytes, at, token_char, letters_and_dashes);
}
std::size_t end_of_value(std::string_view bytes, std::size_t at) noexcept {
  return end_of_run(bytes, at, value_char, visible_or_blank);
}

constexpr std::size_t known_size_max = std::ranges::rbegin(known_fields)->name.size();
/// Where in `known_fields`, which is sorted by length, the names of a length begin.
constexpr auto known_of_size = [] {
  std::array<std::uint8_t, known_size_max + 2> begin{};
  for (std::size_t size = 0; size < begin.size(); ++size) {
    begin[size] = static_cast<std::uint8_t>(std::ranges::count_if(
        known_fields, [size](const KnownField& known) { return known.name.size() < size; }));
  }
  return begin;
}();

/// Of a name of token characters.
FieldId classify(std::string_view name) noexcept {
  if (name.size() <= known_size_max) {
    for (auto i = known_of_size[name.size()]; i < known_of_size[name.size() + 1]; ++i)
      if (folds_to(name, known_fields[i].name)) return known_fields[i].id;
  }
  if (name.size() > 9 && equals_ignoring_case(name.substr(0, 9), "x-sollol-"))
    return FieldId::sollol;
  if (name.size() > 15 && equals_ignoring_case(name.substr(0, 15), "access-control-")) {
    return FieldId::access_control;
  }
  return FieldId::other;
}

/// Whether some server behind us might take the name for one that frames the body: CGI and its
/// heirs read `_` as `-`.
bool imitates_framing(std::string_view name) noexcept {
  const auto imitates = [name](std::string_view known) {
    return name.size() == known.size() &&
           std::equal(name.begin(), name.end(), known.begin(),
                      [](char a, char b) { return (a == '_' ? '-' : lower(a)) == b; });
  };
  return imitates("content-length") || imitates("transfer-encoding");
}

HeadParse bad(int status, std::string_view problem) {
  return {.state = HeadParse::State::bad, .status = status, .problem = problem};
}

std::string_view trim(std::string_view s) noexcept {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

/// Whether a comma-separated list holds `token`, without regard to case.
bool has_token(std::string_view list, std::string_view token) noexcept {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    if (equals_ignoring_case(trim(list.substr(0, comma)), token)) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

/// Plain digits that fit 63 bits: no sign, no space, no list.
std::optional<std::uint64_t> parse_length(std::string_view digits) noexcept {
  if (digits.empty() || digits.size() > 18) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

/// The fields of a head and what they decide about the body and the connection.
struct FieldParse {
  HeadParse result;
  std::optional<std::uint64_t> content_length;
  bool chunked = false;
  bool close = false;
  bool keep_alive = false;
};

/// Notes what one field says about framing and connection; an error answer when it may not stand.
std::optional<HeadParse> note_field(const Field& field, FieldParse& parse) {
  switch (field.id) {
    case FieldId::content_length: {
      if (parse.content_length) return bad(400, "more than one Content-Length");
      const auto length = parse_length(field.value);
      if (!length) return bad(400, "Content-Length is not a plain number");
      parse.content_length = length;
      return std::nullopt;
    }
    case FieldId::transfer_encoding:
      if (parse.chunked) return bad(400, "more than one Transfer-Encoding");
      if (!equals_ignoring_case(field.value, "chunked")) {
        return bad(501, "a transfer coding other than chunked");
      }
      parse.chunked = true;
      return std::nullopt;
    case FieldId::connection:
      parse.close = parse.close || has_token(field.value, "close");
      parse.keep_alive = parse.keep_alive || has_token(field.value, "keep-alive");
      return std::nullopt;
    case FieldId::other:
      if (imitates_framing(field.name)) return bad(400, "a header name that imitates another");
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

FieldParse parse_fields(std::string_view bytes, std::size_t at, const HeadLimits& limits,
                        Fields& out) {
  FieldParse parse;
  out.count = 0;
  const std::size_t fields_max = std::min(limits.fields_max, field_capacity);
  const auto fail = [&](int status, std::string_view problem) {
    parse.result = bad(status, problem);
    return parse;
  };
  const char* const data = bytes.data();
  const std::size_t size = bytes.size();
  while (true) {
    if (at + 2 > size) break;
    if (data[at] == '\r') {
      if (data[at + 1] != '\n') return fail(400, "a carriage return without line feed");
      if (parse.content_length && parse.chunked) {
        return fail(400, "both Content-Length and Transfer-Encoding");
      }
      parse.result = {.state = HeadParse::State::complete, .length = at + 2};
      return parse;
    }
    const std::size_t name_at = at;
    at = end_of_name(bytes, at);
    if (at == size) break;
    if (data[at] != ':' || at == name_at) {
      const bool folded = data[name_at] == ' ' || data[name_at] == '\t';
      return fail(400, folded ? "a folded header line" : "a malformed header name");
    }
    const std::size_t value_at = at + 1;
    at = end_of_value(bytes, value_at);
    if (at + 1 >= size) {
      if (at < size && data[at] != '\r') return fail(400, "a control character in a header value");
      break;
    }
    if (data[at] != '\r' || data[at + 1] != '\n') {
      return fail(400, "a control character or bare line end in a header value");
    }
    if (out.count == fields_max) return fail(431, "too many header fields");
    Field& field = out.items[out.count++];
    field.name = bytes.substr(name_at, value_at - 1 - name_at);
    field.value = trim(bytes.substr(value_at, at - value_at));
    field.id = classify(field.name);
    if (auto problem = note_field(field, parse)) {
      parse.result = *problem;
      return parse;
    }
    at += 2;
  }
  if (size >= limits.bytes_max) return fail(431, "the header is too large");
  return parse;  // incomplete
}

/// Splits an absolute-form target (`http://host/path`) into authority and origin form.
bool take_absolute_form(RequestHead& head) {
  const std::string_view target = head.target;
  const std::size_t scheme = target.find("://");
  if (scheme == std::string_view::npos) return false;
  const std::string_view name = target.substr(0, scheme);
  if (!equals_ignoring_case(name, "http") && !equals_ignoring_case(name, "https")) return false;
  const std::string_view rest = target.substr(scheme + 3);
  const std::size_t slash = rest.find('/');
  head.authority = rest.substr(0, slash);
  if (head.authority.empty() || head.authority.find_first_of("@?#") != std::string_view::npos) {
    return false;
  }
  head.target = slash == std::string_view::npos ? std::string_view("/") : rest.substr(slash);
  return true;
}

/// Parses `METHOD SP target SP HTTP/1.x CRLF`; returns the position after it in `next`.
HeadParse parse_request_line(std::string_view bytes, const HeadLimits& limits, RequestHead& out,
                             std::size_t& next) {
  std::size_t at = 0;
  const std::size_t size = bytes.size();
  const auto incomplete = [&]() -> HeadParse {
    if (size >= limits.bytes_max) return bad(414, "the request line is too long");
    return {};
  };
  while (at < size && is(bytes[at], token_char)) ++at;
  if (at > method_max) return bad(501, "the method is too long");
  if (at == size) return incomplete();
  if (at == 0 || bytes[at] != ' ') return bad(400, "a malformed request line");
  out.method = bytes.substr(0, at);
  const std::size_t target_at = ++at;
  while (at < size && is(bytes[at], target_char)) ++at;
  if (at == size) return incomplete();
  if (at == target_at || bytes[at] != ' ') return bad(400, "a malformed request target");
  out.target = bytes.substr(target_at, at - target_at);
  const std::string_view version = bytes.substr(at + 1, 10);
  if (version.size() < 10) {
    return std::string_view("HTTP/").starts_with(version.substr(0, 5))
               ? incomplete()
               : bad(400, "a malformed request line");
  }
  if (!version.starts_with("HTTP/")) return bad(400, "a malformed request line");
  const auto digit = [&](std::size_t i) { return version[i] >= '0' && version[i] <= '9'; };
  if (!digit(5) || version[6] != '.' || !digit(7) || version.substr(8) != "\r\n") {
    return bad(400, "a malformed HTTP version");
  }
  if (version[5] != '1' || version[7] > '1')
    return bad(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  out.minor_version = version[7] - '0';
  next = at + 11;
  return {.state = HeadParse::State::complete};
}

/// `host`, `host:port`, `[v6]` or `[v6]:port` in the characters that a registered name may have
/// (RFC 3986 §3.2.2), less the comma, which two merged fields would leave.
bool is_authority(std::string_view text) noexcept {
  const std::size_t end_of_host = text.starts_with('[') ? text.find(']') : 0;
  if (end_of_host == std::string_view::npos) return false;
  const std::size_t colon = text.find(':', end_of_host);
  if (colon != std::string_view::npos) {
    const std::string_view port = text.substr(colon + 1);
    if (port.size() > 5 || port.find_first_not_of("0123456789") != std::string_view::npos)
      return false;
    text = text.substr(0, colon);
  }
  const bool bracketed = end_of_host > 0;
  if (bracketed && end_of_host + 1 != text.size()) return false;
  if (bracketed) text = text.substr(1, end_of_host - 1);
  return std::ranges::all_of(text, [bracketed](char c) {
    const bool alnum = (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z');
    return alnum || std::string_view(bracketed ? ":.%-_~" : "-._~%!$&'()*+;=").contains(c);
  });
}

/// Host and target forms: what RFC 9112 §3.2 asks of a server.
std::optional<HeadParse> check_target(RequestHead& head) {
  std::size_t hosts = 0;
  head.authority = {};
  for (const Field& field : head.fields.all()) {
    if (field.id != FieldId::host) continue;
    ++hosts;
    head.authority = field.value;
  }
  if (hosts > 1) return bad(400, "more than one Host");
  if (hosts == 0 && head.minor_version == 1) return bad(400, "missing Host");
  if (!is_authority(head.authority)) return bad(400, "a malformed Host");
  if (head.target.contains('#')) return bad(400, "a fragment in the request target");
  if (head.target.starts_with('/')) return std::nullopt;
  if (head.target == "*" && head.method == "OPTIONS") return std::nullopt;
  if (head.method == "CONNECT") return bad(405, "CONNECT is not served here");
  const std::string_view host = head.authority;
  if (!take_absolute_form(head) || !is_authority(head.authority))
    return bad(400, "a malformed request target");
  // A server would have to ignore Host here; another might not.
  if (hosts == 1 && !equals_ignoring_case(host, head.authority))
    return bad(400, "Host and the request target name different servers");
  return std::nullopt;
}

}  // namespace

bool equals_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view Fields::find(std::string_view name) const noexcept {
  for (const Field& field : all()) {
    if (equals_ignoring_case(field.name, name)) return field.value;
  }
  return {};
}

std::string_view Fields::find(FieldId id) const noexcept {
  for (const Field& field : all()) {
    if (field.id == id) return field.value;
  }
  return {};
}

std::string_view RequestHead::query() const noexcept {
  const std::size_t mark = target.find('?');
  return mark == std::string_view::npos ? std::string_view{} : target.substr(mark + 1);
}

HeadParse parse_request_head(std::string_view bytes, const HeadLimits& limits, RequestHead& out) {
  std::size_t start = 0;
  // RFC 9112 §2.2: a server ignores an empty line before the request line.
  if (bytes.starts_with("\r\n")) start = 2;
  if (bytes == "\r") return {};
  std::size_t at = 0;
  HeadParse line = parse_request_line(bytes.substr(start), limits, out, at);
  if (line.state != HeadParse::State::complete) return line;
  FieldParse parse = parse_fields(bytes, start + at, limits, out.fields);
  if (parse.result.state != HeadParse::State::complete) return parse.result;
  if (parse.chunked && out.minor_version == 0) return bad(400, "Transfer-Encoding in HTTP/1.0");
  if (auto problem = check_target(out)) return *problem;
  if (parse.result.length > limits.bytes_max) return bad(431, "the header is too large");
  out.framing = parse.chunked          ? Framing{Framing::Kind::chunked, 0}
                : parse.content_length ? Framing{Framing::Kind::sized, *parse.content_length}
                                       : Framing{};
  if (out.framing.kind == Framing::Kind::sized && out.framing.length == 0) out.framing = {};
  out.keep_alive = !parse.close && (out.minor_version == 1 || parse.keep_alive);
  out.expects_continue = false;
  for (const Field& field : out.fields.all()) {
    if (field.id != FieldId::expect) continue;
    if (!equals_ignoring_case(field.value, "100-continue"))
      return bad(417, "an unknown expectation");
    out.expects_continue = out.minor_version == 1;
  }
  return parse.result;
}

HeadParse parse_response_head(std::string_view bytes, const HeadLimits& limits, ResponseHead& out) {
  constexpr std::string_view shape = "HTTP/1.1 200";
  if (bytes.size() < shape.size() + 2) {
    const std::string_view prefix = bytes.substr(0, 7);
    return std::string_view("HTTP/1.").starts_with(prefix) ? HeadParse{} : bad(502, "not HTTP");
  }
  const auto digit = [&](std::size_t at) { return bytes[at] >= '0' && bytes[at] <= '9'; };
  if (!bytes.starts_with("HTTP/1.") || !digit(7) || bytes[8] != ' ' || !digit(9) || !digit(10) ||
      !digit(11)) {
    return bad(502, "a malformed status line");
  }
  out.minor_version = bytes[7] == '0' ? 0 : 1;
  out.status = (bytes[9] - '0') * 100 + (bytes[10] - '0') * 10 + (bytes[11] - '0');
  if (out.status < 100 || (bytes[12] != ' ' && bytes[12] != '\r'))
    return bad(502, "a malformed status line");
  const std::size_t at = end_of_value(bytes, 12);
  if (at + 1 >= bytes.size()) {
    return bytes.size() >= limits.bytes_max ? bad(502, "the status line is too long") : HeadParse{};
  }
  if (bytes[at] != '\r' || bytes[at + 1] != '\n') return bad(502, "a malformed status line");
  out.reason = trim(bytes.substr(12, at - 12));
  FieldParse parse = parse_fields(bytes, at + 2, limits, out.fields);
  if (parse.result.state == HeadParse::State::bad) parse.result.status = 502;
  if (parse.result.state != HeadParse::State::complete) return parse.result;
  if (parse.result.length > limits.bytes_max) return bad(502, "the header is too large");
  out.framing = parse.chunked          ? Framing{Framing::Kind::chunked, 0}
                : parse.content_length ? Framing{Framing::Kind::sized, *parse.content_length}
                                       : Framing{Framing::Kind::until_close, 0};
  out.keep_alive = !parse.close && (out.minor_version == 1 || parse.keep_alive);
  return parse.result;
}

Framing response_framing(const ResponseHead& head, std::string_view method) noexcept {
  if (method == "HEAD" || head.status < 200 || head.status == 204 || head.status == 304) return {};
  if (head.framing.kind == Framing::Kind::sized && head.framing.length == 0) return {};
  return head.framing;
}

std::string_view reason_phrase(int status) noexcept {
  switch (status) {
    case 508:
      return "Loop Detected";
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 411:
      return "Length Required";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Status";
  }
}

}  // namespace sollol::http
