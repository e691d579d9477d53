#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace sollol::test {

/// A program that has taken a node's address while the node was away.
class StandIn {
 public:
  enum class Kind : std::uint8_t {
    web_server,  // HTTP, but not Ollama's: 404 for everything
    other_talk,  // a protocol that speaks first, as SSH does
    silent,      // accepts, reads and never says a word
    hangs_up,    // accepts and closes
    black_hole,  // answers no handshake: its backlog is full
  };

  /// Listens there; throws std::runtime_error when it cannot.
  StandIn(Kind kind, const std::string& ip, std::uint16_t port);
  ~StandIn();
  StandIn(const StandIn&) = delete;
  StandIn& operator=(const StandIn&) = delete;

 private:
  void fill_backlog(const std::string& ip, std::uint16_t port);
  void serve();
  void greet(int socket);
  void answer(int socket);

  Kind kind_;
  int listener_ = -1;
  std::vector<int> open_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace sollol::test
