#include "net/listening.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/harness.h"

namespace sollol::net {
namespace {

TEST(Listening, AnAddressIsUsedWhileSomebodyListensEvenIfHeSharesIt) {
  Loop loop;
  auto listener = TcpListener::open(loop.context, {"127.0.0.1", 0}).value();
  const Address at = listener.address();
  EXPECT_FALSE(check_unused(at).has_value());
  EXPECT_FALSE(check_unused({"0.0.0.0", at.port}).has_value());
  EXPECT_TRUE(TcpListener::open(loop.context, at).has_value()) << "the kernel would share it";
  listener.close();
  EXPECT_TRUE(check_unused(at).has_value());
  EXPECT_TRUE(check_unused({"127.0.0.1", 0}).has_value());
}

TEST(Listening, AnAdoptedSocketAcceptsWhatWaitsThereAndOutlivesItsFirstOwner) {
  Loop loop;
  auto first = TcpListener::open(loop.context, {"127.0.0.1", 0}).value();
  const Address at = first.address();
  auto connecting = loop.connector.connect(at, loop.soon());
  const auto client = loop.run(std::move(connecting));
  ASSERT_TRUE(client.has_value());
  EXPECT_TRUE(connection_waits(first.descriptor()));
  auto second = TcpListener::adopt(loop.context, duplicate(first.descriptor())).value();
  EXPECT_EQ(second.address(), at);
  first.close();
  auto accepting = second.accept(loop.scheduler);
  EXPECT_TRUE(loop.run(std::move(accepting)).has_value());
  EXPECT_FALSE(connection_waits(second.descriptor()));
}

TEST(Listening, ClosingEndsAnAcceptThatWaits) {
  Loop loop;
  auto listener = TcpListener::open(loop.context, {"127.0.0.1", 0}).value();
  const int other = duplicate(listener.descriptor());
  std::optional<ErrorKind> end;
  asio::co_spawn(
      loop.context, listener.accept(loop.scheduler),
      [&](std::exception_ptr, Result<std::unique_ptr<Stream>> got) { end = got.error().kind; });
  loop.context.poll();
  listener.close();
  loop.run_until([&] { return end.has_value(); });
  EXPECT_EQ(end, ErrorKind::cancelled);
  ::close(other);
}

TEST(Listening, WhatIsNoListenerIsNotAdopted) {
  Loop loop;
  const int plain = ::socket(AF_INET, SOCK_STREAM, 0);
  EXPECT_FALSE(TcpListener::adopt(loop.context, plain).has_value());
  EXPECT_FALSE(TcpListener::adopt(loop.context, -1).has_value());
  ::close(plain);
}

/// Whether a connect, made without waiting, is still under way.
bool is_left_hanging(const Address& at) {
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(at.port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool hangs = ::connect(client, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 &&
                     ::connect(client, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 &&
                     errno == EALREADY;
  ::close(client);
  return hangs;
}

TEST(Listening, AListenerThatRefusesLetsEarlierConnectionsTalk) {
  Loop loop;
  auto listener = TcpListener::open(loop.context, {"127.0.0.1", 0}).value();
  auto connecting = loop.connector.connect(listener.address(), loop.soon());
  auto client = loop.run(std::move(connecting));
  refuse_new_connections(listener.descriptor());
  EXPECT_TRUE(is_left_hanging(listener.address()));
  auto again = TcpListener::adopt(loop.context, duplicate(listener.descriptor())).value();
  EXPECT_FALSE(is_left_hanging(listener.address())) << "whoever takes it over serves it";
  auto accepting = listener.accept(loop.scheduler);
  auto server = loop.run(std::move(accepting));
  EXPECT_EQ(write_text(**client, "hello").bytes, 5u);
  auto reading = read_text(**server, 5, loop.soon());
  EXPECT_EQ(loop.run(std::move(reading)), "hello");
}

}  // namespace
}  // namespace sollol::net
