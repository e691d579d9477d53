#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace sollol::cli {

/// A request of a command to a gateway.
struct ClientRequest {
  std::string method = "GET";
  std::string url;  // http://host:port/path, or https
  std::string body = {};
  /// Whether the caller's key is shown: to a gateway, never to a node.
  enum class Key : std::uint8_t { shown, withheld } key = Key::shown;
};
struct ClientReply {
  int status = 0;
  std::string body;           // empty when it was given to `on_piece`
  std::string node;           // X-Sollol-Node
  std::string date;           // Date
  bool from_gateway = false;  // it bears a field of ours
};

/// Sends one request and waits for the answer. With `on_piece` each piece of a successful answer's
/// body is handed over as it comes; `timeout` then bounds only the connect. Error: refused,
/// timeout, bad_reply, untrusted, naming the address. SOLLOL_API_KEY is sent along as the key.
Result<ClientReply> fetch(const ClientRequest& request, Duration timeout,
                          const std::function<void(std::string_view)>& on_piece = {});

/// The API key to show to a gateway: SOLLOL_API_KEY, else Ollama's own variable where it holds a key
/// of a gateway. Empty: none.
std::string gateway_key();

/// Puts the pieces of an answer together to lines.
class Lines {
 public:
  /// Hands over each line that this piece ends, without its end.
  template <class Take>
  void feed(std::string_view piece, Take&& take) {
    pending_.append(piece);
    for (std::size_t end = pending_.find('\n'); end != std::string::npos;
         end = pending_.find('\n')) {
      take(std::string_view(pending_).substr(0, end));
      pending_.erase(0, end + 1);
    }
  }

 private:
  std::string pending_;
};

/// Where the gateway is: `--gateway`, else SOLLOL_GATEWAY, else OLLAMA_HOST, else
/// http://127.0.0.1:11434.
std::string gateway_url(const std::string& flag);

}  // namespace sollol::cli
