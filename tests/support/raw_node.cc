#include "support/raw_node.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>

namespace sollol::test {

std::string answer_text(std::string_view body, std::string_view status, std::string_view fields) {
  return "HTTP/1.1 " + std::string(status) + "\r\n" + std::string(fields) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

bool RawNode::Peer::send(std::string_view bytes) {
  while (!bytes.empty()) {
    if (node_.ending_) return false;
    pollfd waiting{socket_, POLLOUT, 0};
    if (::poll(&waiting, 1, 50) == 0) continue;
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) continue;
    if (sent <= 0) return false;
    node_.sent_ += static_cast<std::uint64_t>(sent);
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return !node_.ending_;
}

void RawNode::Peer::flood(std::string_view bytes, std::uint64_t total_max) {
  std::string piece;
  while (piece.size() < 65536) piece += bytes;
  for (std::uint64_t total = 0; total < total_max; total += piece.size()) {
    if (!send(piece)) return;
  }
}

void RawNode::Peer::hold() {
  std::array<char, 4096> ignored;
  while (!node_.ending_) {
    pollfd waiting{socket_, POLLIN, 0};
    if (::poll(&waiting, 1, 50) == 0) continue;
    if (::recv(socket_, ignored.data(), ignored.size(), 0) <= 0) return;
  }
}

RawNode::RawNode() {
  const auto whole = [](std::string body) {
    return [text = answer_text(body)](Peer& peer) { peer.send(text); };
  };
  on("GET /api/version", whole(R"({"version":"0.33.0"})"));
  on("GET /api/tags",
     whole(R"({"models":[{"name":"llama3.2:latest","model":"llama3.2:latest","size":2019393189,)"
           R"("digest":"bad","details":{"family":"llama"},"capabilities":["completion"]}]})"));
  // Loaded already: the gateway has no reason to load it first.
  on("GET /api/ps",
     whole(R"({"models":[{"name":"llama3.2:latest","model":"llama3.2:latest","size":1,)"
           R"("size_vram":1,"digest":"bad","expires_at":"2318-12-31T10:00:00Z"}]})"));
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* const at = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener_, at, length) != 0 || ::listen(listener_, 128) != 0 ||
      ::getsockname(listener_, at, &length) != 0) {
    throw std::runtime_error("RawNode cannot listen");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

RawNode::~RawNode() {
  ending_ = true;
  {
    const std::scoped_lock lock(mutex_);
    for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
  }
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
  ::close(listener_);
}

std::string RawNode::url() const { return "http://127.0.0.1:" + std::to_string(port_); }

void RawNode::on(std::string request_line, Script script) {
  const std::scoped_lock lock(mutex_);
  scripts_[std::move(request_line)] = std::move(script);
}

std::size_t RawNode::asked(const std::string& request_line) const {
  const std::scoped_lock lock(mutex_);
  const auto found = asked_.find(request_line);
  return found == asked_.end() ? 0 : found->second;
}

void RawNode::accept_all() {
  while (!ending_) {
    pollfd waiting{listener_, POLLIN, 0};
    if (::poll(&waiting, 1, 50) <= 0) continue;
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) continue;
    const std::scoped_lock lock(mutex_);
    sockets_.insert(socket);
    threads_.emplace_back([this, socket] { serve(socket); });
  }
}

RawNode::Script RawNode::script_for(const std::string& request) {
  const std::scoped_lock lock(mutex_);
  for (const auto& [line, script] : scripts_) {
    if (!request.starts_with(line + " ")) continue;
    ++asked_[line];
    return script;
  }
  return [](Peer& peer) { peer.send(answer_text("404 page not found", "404 Not Found")); };
}

/// Reads one request whole and lets its script answer.
void RawNode::serve(int socket) {
  std::string request;
  std::array<char, 65536> piece;
  std::size_t wanted = std::string::npos;
  while (request.size() < wanted) {
    const ssize_t got = ::recv(socket, piece.data(), piece.size(), 0);
    if (got <= 0) break;
    request.append(piece.data(), static_cast<std::size_t>(got));
    const std::size_t end = request.find("\r\n\r\n");
    if (end == std::string::npos || wanted != std::string::npos) continue;
    const std::size_t field = request.find("Content-Length: ");
    wanted = end + 4;
    if (field < end) wanted += std::stoul(request.substr(field + 16));
  }
  if (request.size() >= wanted) {
    Peer peer(*this, socket);
    script_for(request)(peer);
  }
  const std::scoped_lock lock(mutex_);
  sockets_.erase(socket);
  ::close(socket);
}

}  // namespace sollol::test
