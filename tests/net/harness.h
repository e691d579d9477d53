#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "net/tcp.h"

namespace sollol::net {

using namespace std::chrono_literals;

/// Long enough never to pass in a test that works.
inline constexpr Duration patience = std::chrono::seconds(30);

/// One thread's world: a context, real time and coroutines run to their end.
struct Loop {
  enum class Sockets : std::uint8_t { epoll, ring };
  explicit Loop(Sockets sockets = Sockets::epoll) {
    if (sockets == Sockets::epoll) return;
    auto opened = Ring::open(context, scheduler);
    if (!opened) throw std::runtime_error(opened.error().detail);
    ring = std::move(*opened);
    connector.serve_through(ring.get());
  }

  asio::io_context context{1};
  AsioScheduler scheduler{context};
  std::unique_ptr<Ring> ring;
  TcpConnector connector{context, scheduler};

  TimePoint soon() const { return scheduler.now() + patience; }

  /// Runs everything until `task` is done; fails when it never ends.
  template <class T>
  T run(Task<T> task) {
    std::optional<T> result;
    bool done = false;
    asio::co_spawn(context, std::move(task), [&](std::exception_ptr problem, T value) {
      if (problem) std::rethrow_exception(problem);
      result = std::move(value);
      done = true;
    });
    run_until([&] { return done; });
    return std::move(*result);
  }

  /// Runs until `condition` holds.
  template <class Condition>
  void run_until(Condition&& condition) {
    const TimePoint limit = soon();
    while (!condition() && scheduler.now() < limit) {
      context.restart();
      context.run_one_for(100ms);
    }
    if (!condition()) throw std::runtime_error("the condition never came true");
  }
};

/// A connected pair: `client` as the code under test, `server` as its peer.
struct Pair {
  std::unique_ptr<Stream> client;
  std::unique_ptr<Stream> server;
};

inline Task<Pair> connect_pair(Loop& loop) {
  auto listener = TcpListener::open(loop.context, {"127.0.0.1", 0});
  // The kernel completes the connection from the backlog, before anyone accepts.
  auto connecting = loop.connector.connect(listener->address(), loop.soon());
  auto client = co_await std::move(connecting);
  auto accepting = listener->accept(loop.scheduler, loop.ring.get());
  auto server = co_await std::move(accepting);
  co_return Pair{std::move(client.value()), std::move(server.value())};
}

inline Pair make_pair(Loop& loop) {
  auto connecting = connect_pair(loop);
  return loop.run(std::move(connecting));
}

inline IoResult write_text(Stream& stream, std::string_view text) {
  return stream.write({&text, 1});
}

/// Reads until `bytes` have come or the stream ends.
inline Task<std::string> read_text(Stream& stream, std::size_t bytes, TimePoint deadline) {
  std::string text;
  std::array<char, 65536> buffer;
  while (text.size() < bytes) {
    const IoResult got = stream.read(buffer);
    text.append(buffer.data(), got.bytes);
    if (got.status == IoResult::Status::would_block) {
      auto waiting = wait(stream, Direction::read, deadline);
      if (const Wake wake = co_await std::move(waiting); wake != Wake::ready) break;
    } else if (got.status != IoResult::Status::ok) {
      break;
    }
  }
  co_return text;
}

}  // namespace sollol::net
