#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>

namespace sollol::test {

/// A node that sends exactly the bytes it is told to, right or wrong.
///
/// Answers `/api/version`, `/api/tags` (llama3.2) and `/api/ps` as Ollama does until a script
/// replaces that. One thread for each connection; all end with the object.
class RawNode {
 public:
  /// One connection, for the script that answers a request on it.
  class Peer {
   public:
    /// False once the gateway has gone or the node ends.
    bool send(std::string_view bytes);
    /// Sends `bytes` again and again until the gateway has had enough, or `total_max` bytes.
    void flood(std::string_view bytes, std::uint64_t total_max = 4ull << 30);
    /// Waits until the gateway closes or the node ends.
    void hold();

   private:
    friend class RawNode;
    Peer(RawNode& node, int socket) : node_(node), socket_(socket) {}
    RawNode& node_;
    int socket_;
  };
  /// Answers one request; the connection is closed after it.
  using Script = std::function<void(Peer&)>;

  RawNode();
  ~RawNode();
  RawNode(const RawNode&) = delete;
  RawNode& operator=(const RawNode&) = delete;

  std::string url() const;
  std::uint16_t port() const noexcept { return port_; }
  /// Replaces the answer to requests that begin so ("POST /api/generate").
  void on(std::string request_line, Script script);
  /// Requests so far that began so.
  std::size_t asked(const std::string& request_line) const;
  /// Bytes sent to the gateway so far.
  std::uint64_t sent() const noexcept { return sent_; }

 private:
  void accept_all();
  void serve(int socket);
  Script script_for(const std::string& request);

  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> ending_ = false;
  std::atomic<std::uint64_t> sent_ = 0;
  mutable std::mutex mutex_;
  std::map<std::string, Script> scripts_;
  std::map<std::string, std::size_t> asked_;
  std::set<int> sockets_;
  std::list<std::thread> threads_;
  std::thread acceptor_;
};

/// A whole answer with Content-Length.
std::string answer_text(std::string_view body, std::string_view status = "200 OK",
                        std::string_view fields = "Content-Type: application/json\r\n");

}  // namespace sollol::test
