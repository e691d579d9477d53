#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace sollol::test {

/// An answer as a client sees it.
struct Answer {
  int status = 0;
  std::map<std::string, std::string> fields;  // lower-case names; repeated ones joined by ", "
  std::string body;                           // without transfer coding
  std::string raw;                            // as it came, head included
  bool complete = false;                      // ended as its framing says

  std::string field(const std::string& name) const {
    const auto it = fields.find(name);
    return it == fields.end() ? std::string() : it->second;
  }
};

/// A blocking TCP client that sends exactly the bytes it is given. Waits are bounded by `limit_s`.
class RawClient {
 public:
  static constexpr int limit_s = 20;

  explicit RawClient(std::uint16_t port, const char* ip = "127.0.0.1");
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  /// Makes the handshake of TLS, from here on for all bytes: for a server certified by the
  /// authority of the PEM file `ca_file`, as 127.0.0.1. False when it fails.
  bool secure(const std::string& ca_file);
  /// The text of the certificate's key, to tell certificates apart.
  std::string peer_key() const;

  void send(std::string_view bytes);
  /// The next answer on the connection; `head_only` for an answer to HEAD. Interim answers are
  /// skipped.
  enum class Expect { body, head_only };
  Answer receive(Expect expect = Expect::body);
  /// Reads until `text` has come; false when the connection ended before.
  bool receive_until(std::string_view text);
  /// Waits for the end of the connection; true for a clean end, false for a reset or the limit.
  bool closed();
  void close();
  /// Sends no more, and reads on.
  void half_close();
  /// Whether the last wait ended because nothing came within `limit_s`.
  bool silent() const { return silent_; }

 private:
  bool fill();
  struct Tls;
  int socket_;
  std::unique_ptr<Tls> tls_;  // null: plain
  std::string buffer_;
  bool reset_ = false;
  bool silent_ = false;
};

/// `METHOD target HTTP/1.1` with Host, Content-Length and `fields` (whole lines).
std::string request_text(std::string_view method, std::string_view target,
                         std::string_view body = {}, std::string_view fields = {});

/// One request on a connection of its own.
Answer ask(std::uint16_t port, std::string_view method, std::string_view target,
           std::string_view body = {}, std::string_view fields = {}, const char* ip = "127.0.0.1");

}  // namespace sollol::test
