// A stand-in for an Ollama node that costs almost nothing: one thread, one epoll, answers made
// beforehand, and tokens sent on a fixed beat. It lets the cost of what lies before it be seen.
// Loopback only.
#include <fmt/core.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <queue>
#include <unordered_map>

#include "answers.h"
#include "http_reader.h"
#include "net.h"

namespace sollol::bench {
namespace {

struct Connection {
  Fd socket;
  HttpReader reader;
  std::string input;   // read and not yet understood: the next request of a client that pipelines
  std::string body;    // of the request being read
  std::string output;  // what the socket would not take yet
  Ask ask;
  std::uint32_t sent = 0;
  enum class Doing : std::uint8_t { reading, streaming } doing = Doing::reading;
};

/// When a stream's next token is due; each streaming connection has exactly one of these.
struct Due {
  Nanoseconds at;
  std::uint64_t connection;
  bool operator>(const Due& other) const noexcept { return at > other.at; }
};

class Origin {
 public:
  Origin(const std::vector<Endpoint>& endpoints, Nanoseconds beat);
  [[noreturn]] void run();

 private:
  using Connections = std::unordered_map<std::uint64_t, Connection>;

  Nanoseconds until_next_beat() const;
  void accept_all(const Fd& listener);
  void on_event(const epoll_event& event);
  bool read_input(Connection& connection);
  bool serve_input(std::uint64_t id, Connection& connection);
  void begin(std::uint64_t id, Connection& connection);
  bool send(std::uint64_t id, Connection& connection, std::string_view bytes);
  void send_due_tokens();
  bool send_token(std::uint64_t id, Connection& connection);
  Nanoseconds beat_before(Nanoseconds at) const { return at / beat_ * beat_; }

  Poller poller_;
  std::vector<Fd> listeners_;
  Connections connections_;
  std::uint64_t next_id_;
  std::uint64_t streams_begun_ = 0;
  Nanoseconds beat_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  std::array<TokenChunk, 2> chunks_{TokenChunk(Ask::Kind::generate), TokenChunk(Ask::Kind::chat)};
};

Origin::Origin(const std::vector<Endpoint>& endpoints, Nanoseconds beat) : beat_(beat) {
  for (const auto& endpoint : endpoints) {
    poller_.add(listeners_.emplace_back(listen_on(endpoint)), EPOLLIN, listeners_.size() - 1);
    fmt::print("listening on {}\n", bound_to(listeners_.back()).text());
  }
  std::fflush(stdout);
  next_id_ = listeners_.size();
}

void Origin::run() {
  while (true) {
    for (const auto& event : poller_.wait(until_next_beat())) on_event(event);
    send_due_tokens();
  }
}

/// Negative, without limit, when no token is due.
Nanoseconds Origin::until_next_beat() const {
  if (due_.empty()) return Nanoseconds(-1);
  const auto next = beat_before(due_.top().at + beat_ - Nanoseconds(1));
  return std::max(next - monotonic_now(), Nanoseconds(0));
}

void Origin::on_event(const epoll_event& event) {
  const auto id = event.data.u64;
  if (id < listeners_.size()) return accept_all(listeners_[id]);
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  auto& connection = found->second;
  bool alive = true;
  if (event.events & EPOLLOUT) alive = send(id, connection, {});
  if (alive && event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
    alive = read_input(connection) && serve_input(id, connection);
  }
  if (!alive) connections_.erase(found);
}

void Origin::accept_all(const Fd& listener) {
  while (Fd socket = accept_from(listener)) {
    poller_.add(socket, EPOLLIN, next_id_);
    connections_[next_id_++].socket = std::move(socket);
  }
}

/// False when the peer is gone.
bool Origin::read_input(Connection& connection) {
  std::array<char, 16384> buffer;
  const auto size = recv(connection.socket.get(), buffer.data(), buffer.size(), 0);
  if (size > 0) connection.input.append(buffer.data(), static_cast<std::size_t>(size));
  return size > 0 || (size < 0 && errno == EAGAIN);
}

/// Answers the requests that are whole; one that asks for a stream holds back those behind it.
/// False: close.
bool Origin::serve_input(std::uint64_t id, Connection& connection) {
  while (connection.doing == Connection::Doing::reading && !connection.input.empty()) {
    auto& reader = connection.reader;
    connection.input.erase(0, reader.feed(connection.input, connection.body));
    if (reader.broken()) return false;
    if (!reader.complete()) return true;
    const auto line = reader.start_line();
    const auto path_at = line.find(' ') + 1;
    const auto path = line.substr(path_at, line.find(' ', path_at) - path_at);
    const bool generate = path == "/api/generate";
    bool alive = true;
    if (line.starts_with("POST ") && (generate || path == "/api/chat")) {
      connection.ask = parse_ask(generate ? Ask::Kind::generate : Ask::Kind::chat, connection.body);
      if (connection.ask.form == Ask::Form::single) {
        alive = send(id, connection, single_answer(connection.ask.kind));
      } else {
        begin(id, connection);
      }
    } else {
      alive = send(id, connection, static_answer(path));
    }
    connection.body.clear();
    reader.next();
    if (!alive) return false;
  }
  return true;
}

/// Spreads the streams over their period by the golden ratio, so that none of them march in step.
void Origin::begin(std::uint64_t id, Connection& connection) {
  constexpr double kGolden = 0.6180339887498949;
  const double share = std::fmod(static_cast<double>(++streams_begun_) * kGolden, 1.0);
  const Nanoseconds phase(
      static_cast<std::int64_t>(share * static_cast<double>(connection.ask.period.count())));
  connection.doing = Connection::Doing::streaming;
  connection.sent = 0;
  due_.push({monotonic_now() + phase, id});
}

void Origin::send_due_tokens() {
  const auto now = beat_before(monotonic_now());
  while (!due_.empty() && due_.top().at <= now) {
    const auto due = due_.top();
    due_.pop();
    const auto found = connections_.find(due.connection);
    if (found == connections_.end()) continue;  // its client left
    auto& connection = found->second;
    if (!send_token(due.connection, connection)) {
      connections_.erase(found);
    } else if (connection.doing == Connection::Doing::streaming) {
      due_.push({due.at + connection.ask.period, due.connection});
    }
  }
}

/// Sends the next token, after the head if it is the first, or the end of the stream. False when
/// the peer is gone.
bool Origin::send_token(std::uint64_t id, Connection& connection) {
  if (connection.sent == connection.ask.tokens) {
    connection.doing = Connection::Doing::reading;
    return send(id, connection, stream_end(connection.ask.kind)) && serve_input(id, connection);
  }
  auto& chunk = chunks_[static_cast<std::size_t>(connection.ask.kind)];
  const auto bytes = chunk.fill(connection.sent, realtime_now());
  if (connection.sent++ > 0) return send(id, connection, bytes);
  return send(id, connection, std::string(stream_head()).append(bytes));
}

/// Sends now what fits and the rest when the socket is ready; nothing may overtake a rest. False
/// when the peer is gone.
bool Origin::send(std::uint64_t id, Connection& connection, std::string_view bytes) {
  const bool waiting = !connection.output.empty();
  if (waiting) connection.output.append(bytes);
  const std::string_view pending = waiting ? std::string_view(connection.output) : bytes;
  if (pending.empty()) return true;
  const auto size = ::send(connection.socket.get(), pending.data(), pending.size(), MSG_NOSIGNAL);
  if (size < 0 && errno != EAGAIN) return false;
  const auto taken = static_cast<std::size_t>(std::max<ssize_t>(size, 0));
  if (waiting) {
    connection.output.erase(0, taken);
  } else {
    connection.output.assign(bytes.substr(taken));
  }
  const bool waits = !connection.output.empty();
  if (waits != waiting) poller_.change(connection.socket, waits ? EPOLLIN | EPOLLOUT : EPOLLIN, id);
  return true;
}

int run_origin(int argc, char** argv) {
  CLI::App app{
      "A cheap stand-in for an Ollama node with one model, llama3.2, for measuring what lies "
      "before it."};
  std::vector<std::string> listen{"127.0.2.1:0"};
  std::int64_t beat_us = 1000;
  app.add_option("--listen", listen,
                 "loopback ADDRESS:PORT, repeatable; port 0 takes a free one and prints it");
  app.add_option("--beat-us", beat_us, "tokens are sent on multiples of this time")
      ->check(CLI::Range(1, 1000000));
  CLI11_PARSE(app, argc, argv);
  raise_fd_limit();
  std::vector<Endpoint> endpoints;
  for (const auto& text : listen) endpoints.push_back(Endpoint::parse(text));
  Origin(endpoints, std::chrono::microseconds(beat_us)).run();
}

}  // namespace
}  // namespace sollol::bench

int main(int argc, char** argv) {
  try {
    return sollol::bench::run_origin(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "relay_origin: {}\n", error.what());
    return 1;
  }
}
