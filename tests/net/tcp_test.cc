#include "net/tcp.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/detached.hpp>
#include <thread>
#include <vector>

#include "net/harness.h"

namespace sollol::net {
namespace {

using Status = IoResult::Status;

/// What every kind of stream does alike.
struct TcpPair : testing::TestWithParam<Loop::Sockets> {
  Loop loop{GetParam()};
  Pair pair = make_pair(loop);
  Stream& client = *pair.client;
  std::array<char, 4096> buffer{};

  /// Notes how a wait ended.
  Stream::Callback note(std::optional<Wake>& into) {
    return [&into](Wake wake) { into = wake; };
  }
  void await(std::optional<Wake>& wake) {
    loop.run_until([&] { return wake.has_value(); });
  }
  /// Lets everything that is ready run.
  void settle() {
    loop.context.restart();
    loop.context.poll();
  }
  Wake wait_for(Direction direction, TimePoint deadline) {
    std::optional<Wake> wake;
    client.on_ready(direction, deadline, note(wake));
    await(wake);
    return *wake;
  }
};

TEST_P(TcpPair, ReadsWhatThePeerWroteAndThenWouldBlock) {
  EXPECT_EQ(client.read(buffer).status, Status::would_block);
  EXPECT_EQ(write_text(*pair.server, "hello").bytes, 5u);
  auto reading = read_text(client, 5, loop.soon());
  EXPECT_EQ(loop.run(std::move(reading)), "hello");
  EXPECT_EQ(client.read(buffer).status, Status::would_block);
}

TEST_P(TcpPair, WritesSlicesInOrder) {
  const std::array<std::string_view, 4> slices{"a", "", "bc", "d"};
  EXPECT_EQ(client.write(slices).bytes, 4u);
  auto reading = read_text(*pair.server, 4, loop.soon());
  EXPECT_EQ(loop.run(std::move(reading)), "abcd");
}

TEST_P(TcpPair, AFullWindowBlocksUntilThePeerReads) {
  const std::string much(1 << 20, 'x');
  std::size_t sent = 0;
  IoResult last;
  do {
    last = write_text(client, much);
    sent += last.bytes;
    ASSERT_LT(sent, std::size_t{1} << 30);
  } while (last.status == Status::ok);
  EXPECT_EQ(last.status, Status::would_block);
  EXPECT_EQ(wait_for(Direction::write, loop.scheduler.now() + 60ms), Wake::timed_out);
  std::optional<Wake> wake;
  client.on_ready(Direction::write, loop.soon(), note(wake));
  auto draining = read_text(*pair.server, sent, loop.soon());
  EXPECT_EQ(loop.run(std::move(draining)).size(), sent);
  await(wake);
  EXPECT_EQ(wake, Wake::ready);
}

TEST_P(TcpPair, WriteAllWaitsForASlowReader) {
  const std::string much(8 << 20, 'y');
  std::optional<Wake> written;
  asio::co_spawn(loop.context, write_all(client, much, loop.scheduler, patience),
                 [&](std::exception_ptr, Wake wake) { written = wake; });
  auto reading = read_text(*pair.server, much.size(), loop.soon());
  EXPECT_TRUE(loop.run(std::move(reading)) == much);
  await(written);
  EXPECT_EQ(written, Wake::ready);
}

TEST_P(TcpPair, WriteAllGivesUpOnAPeerThatStoppedReading) {
  auto writing = write_all(client, std::string(64 << 20, 'y'), loop.scheduler, 60ms);
  EXPECT_EQ(loop.run(std::move(writing)), Wake::timed_out);
}

TEST_P(TcpPair, AWaitEndsWhenBytesCome) {
  std::optional<Wake> wake;
  client.on_ready(Direction::read, no_deadline, note(wake));
  settle();
  EXPECT_FALSE(wake.has_value());
  write_text(*pair.server, "x");
  await(wake);
  EXPECT_EQ(wake, Wake::ready);
}

TEST_P(TcpPair, AWaitEndsAtItsDeadlineAndTheNextOneStillWorks) {
  EXPECT_EQ(wait_for(Direction::read, loop.scheduler.now() + 30ms), Wake::timed_out);
  write_text(*pair.server, "x");
  EXPECT_EQ(wait_for(Direction::read, loop.soon()), Wake::ready);
}

TEST_P(TcpPair, ACallbackIsNeverCalledFromInsideOnReady) {
  write_text(*pair.server, "x");
  std::optional<Wake> wake;
  client.on_ready(Direction::read, loop.scheduler.now() - 1s, note(wake));
  EXPECT_FALSE(wake.has_value());
  await(wake);
}

TEST_P(TcpPair, ALaterWaitReplacesTheEarlier) {
  std::optional<Wake> replaced, kept;
  client.on_ready(Direction::read, loop.scheduler.now() + 40ms, note(replaced));
  client.on_ready(Direction::read, loop.soon(), note(kept));
  EXPECT_EQ(wait_for(Direction::write, loop.soon()), Wake::ready);  // the other direction is apart
  write_text(*pair.server, "x");
  await(kept);
  EXPECT_EQ(kept, Wake::ready);
  EXPECT_FALSE(replaced.has_value());
}

TEST_P(TcpPair, AForgottenWaitIsNotCalled) {
  std::optional<Wake> forgotten, other;
  client.on_ready(Direction::read, loop.scheduler.now() + 1ms, note(forgotten));
  client.forget(Direction::read);
  write_text(*pair.server, "x");
  pair.server->on_ready(Direction::read, loop.scheduler.now() + 100ms,
                        note(other));  // lets both pass
  await(other);
  EXPECT_FALSE(forgotten.has_value());
  EXPECT_EQ(wait_for(Direction::read, loop.soon()), Wake::ready);
}

TEST_P(TcpPair, CancelWakesBothDirections) {
  std::optional<Wake> read, write;
  // A full window, so that the write waits too.
  while (write_text(client, std::string(1 << 20, 'x')).status == Status::ok) continue;
  client.on_ready(Direction::read, no_deadline, note(read));
  client.on_ready(Direction::write, no_deadline, note(write));
  client.cancel();
  EXPECT_FALSE(read || write) << "whoever cancels may be ended by what it wakes";
  settle();
  EXPECT_EQ(read, Wake::cancelled);
  EXPECT_EQ(write, Wake::cancelled);
}

TEST_P(TcpPair, DestroyingTheStreamDropsItsWaits) {
  std::optional<Wake> wake;
  client.on_ready(Direction::read, loop.soon(), note(wake));
  pair.client.reset();
  write_text(*pair.server, "x");
  settle();
  EXPECT_FALSE(wake.has_value());
}

TEST_P(TcpPair, ACallbackMayDestroyItsStream) {
  bool called = false;
  client.on_ready(Direction::read, loop.soon(), [&](Wake) {
    called = true;
    pair.client.reset();
  });
  write_text(*pair.server, "x");
  loop.run_until([&] { return called; });
  settle();
}

TEST_P(TcpPair, ATimeoutMayDestroyItsStream) {
  bool called = false;
  client.on_ready(Direction::read, loop.scheduler.now(), [&](Wake wake) {
    EXPECT_EQ(wake, Wake::timed_out);
    called = true;
    pair.client.reset();
  });
  loop.run_until([&] { return called; });
  settle();
}

TEST_P(TcpPair, APeerThatClosesEndsTheStreamAfterItsBytes) {
  write_text(*pair.server, "bye");
  pair.server->close();
  auto reading = read_text(client, 100, loop.soon());
  EXPECT_EQ(loop.run(std::move(reading)), "bye");
  EXPECT_EQ(client.read(buffer).status, Status::end);
}

TEST_P(TcpPair, APeerThatResetsIsAnError) {
  pair.server->reset();
  EXPECT_EQ(wait_for(Direction::read, loop.soon()), Wake::ready);  // the read tells what is wrong
  EXPECT_EQ(client.read(buffer).status, Status::error);
}

TEST_P(TcpPair, WritingToAPeerThatIsGoneIsAnErrorAndNoSignal) {
  pair.server->reset();
  EXPECT_EQ(wait_for(Direction::read, loop.soon()), Wake::ready);
  EXPECT_EQ(write_text(client, "x").status, Status::error);
  EXPECT_EQ(write_text(client, "x").status, Status::error);
}

TEST_P(TcpPair, AClosedStreamAnswersWithErrorsAndCancelledWaits) {
  client.close();
  EXPECT_EQ(client.read(buffer).status, Status::error);
  EXPECT_EQ(write_text(client, "x").status, Status::error);
  EXPECT_EQ(wait_for(Direction::read, no_deadline), Wake::cancelled);
}

int connected_to(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return -1;
  return socket;
}

/// Asks over some connections, each again as soon as its answer is there, so that some question
/// meets the loop at each point of its going to sleep. How many were answered before all fell
/// silent.
int ask_again_and_again(std::uint16_t port, int wanted) {
  struct Asker {
    int socket;
    bool waits = false;
  };
  std::vector<Asker> askers;
  for (int i = 0; i < 8; ++i) askers.push_back({connected_to(port)});
  int answered = 0;
  char byte = 'x';
  auto last = std::chrono::steady_clock::now();
  while (answered < wanted && std::chrono::steady_clock::now() - last < 3s) {
    for (Asker& asker : askers) {
      if (!asker.waits) {
        asker.waits = ::send(asker.socket, &byte, 1, MSG_NOSIGNAL) == 1;
      } else if (::recv(asker.socket, &byte, 1, MSG_DONTWAIT) == 1) {
        asker.waits = false;
        ++answered;
        last = std::chrono::steady_clock::now();
      }
    }
  }
  for (const Asker& asker : askers) ::close(asker.socket);
  return answered;
}

Task<void> echo(std::unique_ptr<Stream> stream) {
  std::array<char, 16> buffer{};
  while (true) {
    const IoResult got = stream->read(buffer);
    if (got.status == Status::would_block) {
      auto waiting = wait(*stream, Direction::read, no_deadline);
      co_await std::move(waiting);
    } else if (got.status == Status::ok) {
      write_text(*stream, {buffer.data(), got.bytes});
    } else {
      co_return;
    }
  }
}

Task<void> echo_all(Loop& loop, TcpListener& listener) {
  while (true) {
    auto accepting = listener.accept(loop.scheduler, loop.ring.get());
    Result<std::unique_ptr<Stream>> stream = co_await std::move(accepting);
    if (!stream) co_return;
    asio::co_spawn(loop.context, echo(std::move(*stream)), asio::detached);
  }
}

TEST_P(TcpPair, NoWakeIsLost) {
  constexpr int wanted = 100000;
  auto listener = TcpListener::open(loop.context, {"127.0.0.1", 0});
  auto echoing = echo_all(loop, *listener);
  asio::co_spawn(loop.context, std::move(echoing), asio::detached);
  int answered = 0;
  std::thread asking([&, port = listener->address().port] {
    answered = ask_again_and_again(port, wanted);
    asio::post(loop.context, [&] { loop.context.stop(); });
  });
  loop.context.restart();
  loop.context.run();  // without a time limit, which would wake the loop too
  asking.join();
  EXPECT_GE(answered, wanted);
}

TEST_P(TcpPair, ClosingOnWhatIsUnreadTellsThePeer) {
  const std::string much(1 << 20, 'x');
  while (write_text(*pair.server, much).status == Status::ok) continue;
  EXPECT_EQ(wait_for(Direction::read, loop.soon()), Wake::ready);
  settle();
  client.close();
  std::optional<Wake> wake;
  pair.server->on_ready(Direction::read, loop.soon(), note(wake));
  await(wake);
  EXPECT_EQ(wake, Wake::ready);
  EXPECT_EQ(pair.server->read(buffer).status, Status::error);
}

TEST_P(TcpPair, TellsItsPeersAddress) {
  EXPECT_EQ(client.peer_address(), "127.0.0.1");
  client.close();
  EXPECT_EQ(client.peer_address(), "unknown");
}

bool ring_here() {
  asio::io_context context;
  AsioScheduler scheduler(context);
  return Ring::open(context, scheduler).has_value();
}

INSTANTIATE_TEST_SUITE_P(Epoll, TcpPair, testing::Values(Loop::Sockets::epoll));
INSTANTIATE_TEST_SUITE_P(Ring, TcpPair,
                         testing::ValuesIn(ring_here() ? std::vector{Loop::Sockets::ring}
                                                       : std::vector<Loop::Sockets>{}));
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TcpPair);

/// A port that was free a moment ago, with nothing listening on it.
Address closed_port(Loop& loop) {
  auto listener = TcpListener::open(loop.context, {"127.0.0.1", 0});
  const Address address = listener->address();
  listener->close();
  return address;
}

TEST(Connect, WhereNothingListensIsRefused) {
  Loop loop;
  const Address to = closed_port(loop);
  auto connecting = loop.connector.connect(to, loop.soon());
  const auto got = loop.run(std::move(connecting));
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().kind, ErrorKind::refused);
  EXPECT_EQ(got.error().retry, Retry::other_node);
  EXPECT_TRUE(got.error().detail.contains(to_string(to))) << got.error().detail;
}

/// A listener whose backlog is full: the kernel drops further attempts, as a machine that sleeps
/// does.
class DeafListener {
 public:
  explicit DeafListener(Loop& loop) : acceptor_(loop.context) {
    acceptor_.open(asio::ip::tcp::v4());
    acceptor_.bind({asio::ip::address_v4::loopback(), 0});
    acceptor_.listen(0);
    for (int i = 0; i < 4; ++i) {
      fillers_.emplace_back(loop.context, asio::ip::tcp::v4());
      fillers_.back().native_non_blocking(true);
      const auto to = acceptor_.local_endpoint();
      ::connect(fillers_.back().native_handle(), to.data(),
                static_cast<socklen_t>(to.size()));  // in progress
    }
  }
  Address address() const { return {"127.0.0.1", acceptor_.local_endpoint().port()}; }

 private:
  TcpAcceptor acceptor_;
  std::vector<TcpSocket> fillers_;
};

TEST(Connect, WithoutAnAnswerTimesOut) {
  Loop loop;
  const DeafListener deaf(loop);
  auto connecting = loop.connector.connect(deaf.address(), loop.scheduler.now() + 50ms);
  const auto got = loop.run(std::move(connecting));
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().kind, ErrorKind::timeout);
  EXPECT_EQ(got.error().retry, Retry::other_node);
}

Task<bool> accept_one(Loop& loop, TcpListener& listener) {
  auto accepting = listener.accept(loop.scheduler);
  const auto accepted = co_await std::move(accepting);
  co_return accepted.has_value();
}

TEST(ConnectAny, TakesTheFirstAddressThatAnswers) {
  Loop loop;
  auto listener = TcpListener::open(loop.context, {"127.0.0.1", 0});
  const std::vector<Address> addresses{closed_port(loop), listener->address()};
  auto connecting = connect_any(loop.connector, loop.scheduler, addresses, loop.soon());
  EXPECT_TRUE(loop.run(std::move(connecting)).has_value());
  auto accepting = accept_one(loop, *listener);
  EXPECT_TRUE(loop.run(std::move(accepting)));
}

TEST(ConnectAny, WithoutAnAddressIsRefused) {
  Loop loop;
  auto connecting = connect_any(loop.connector, loop.scheduler, {}, loop.soon());
  const auto got = loop.run(std::move(connecting));
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().kind, ErrorKind::refused);
}

TEST(Listener, ATakenAddressIsRefusedByName) {
  Loop loop;
  TcpAcceptor other(loop.context,
                    {asio::ip::address_v4::loopback(), 0});  // as Ollama listens: not shared
  const Address taken{"127.0.0.1", other.local_endpoint().port()};
  const auto got = TcpListener::open(loop.context, taken);
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().kind, ErrorKind::refused);
  EXPECT_TRUE(got.error().detail.contains(to_string(taken)));
}

TEST(Listener, SharesItsAddressWithItsLikes) {
  Loop loop;
  auto first = TcpListener::open(loop.context, {"127.0.0.1", 0});
  EXPECT_TRUE(TcpListener::open(loop.context, first->address()).has_value());
}

TEST(Listener, ClosingEndsAnAccept) {
  Loop loop;
  auto listener = TcpListener::open(loop.context, {"127.0.0.1", 0});
  asio::post(loop.context, [&] { listener->close(); });
  auto accepting = accept_one(loop, *listener);
  EXPECT_FALSE(loop.run(std::move(accepting)));
}

TEST(Resolve, ALiteralIsItsOwnAddress) {
  Loop loop;
  auto resolving = resolve(loop.context, "::1", 80);
  const auto got = loop.run(std::move(resolving));
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(*got, (std::vector<Address>{{"::1", 80}}));
}

struct Timer final : TimerWheel::Entry {
  void expired() override { fired = true; }
  bool fired = false;
};

TEST(AsioScheduler, FiresWhatIsArmedAndNeverEarly) {
  Loop loop;
  Timer timer;
  const TimePoint when = loop.scheduler.now() + 50ms;
  loop.scheduler.arm(timer, when);
  loop.run_until([&] { return timer.fired; });
  EXPECT_GE(loop.scheduler.now(), when);
}

TEST(AsioScheduler, LetsTheContextEndWhenNothingIsArmed) {
  Loop loop;
  Timer timer;
  loop.scheduler.arm(timer, loop.scheduler.now() + 1h);
  timer.disarm();
  EXPECT_GT(loop.context.run_for(patience), 0u);
  EXPECT_TRUE(loop.context.stopped());
}

}  // namespace
}  // namespace sollol::net
