#pragma once

#include <cstdint>
#include <expected>
#include <string>

namespace sollol {

enum class ErrorKind : std::uint8_t {
  timeout,
  refused,       // nothing listens there, or the address cannot be reached
  reset,         // the peer broke a connection that had been made
  overloaded,    // a limit was met: a queue, a budget, the node's own 503
  bad_reply,     // the peer answered something that is not the protocol
  no_candidate,  // no usable node
  not_found,     // a named thing (model, node, file) does not exist
  bad_input,  // a request, flag or file that cannot be understood; the detail names field and mend
  cancelled,  // whoever asked has left
  untrusted,  // the peer cannot show that it is who it must be
  forbidden,  // the operator's rules do not allow it
};
enum class Origin : std::uint8_t { client, node, gateway };
enum class Retry : std::uint8_t {
  never,
  other_node,
  later
};  // other_node: nothing has reached the client yet

/// An expected failure: what went wrong, whose fault it is and what may be done about it.
struct [[nodiscard]] Error {
  ErrorKind kind;
  Origin origin;
  Retry retry;
  std::string detail;  // for a human: what was tried, on which node, the value that surprised us
};

/// Input that cannot be used, with the mend in `detail`.
inline Error bad_input(std::string detail) {
  return {ErrorKind::bad_input, Origin::client, Retry::never, std::move(detail)};
}

/// A value or an Error; unlike libstdc++ 12's expected, dropping one warns.
template <class T>
struct [[nodiscard]] Result : std::expected<T, Error> {
  using std::expected<T, Error>::expected;
};

}  // namespace sollol
