#include "net/tls.h"

#include <openssl/ssl.h>

#include <fstream>

#include "discovery/temporary_folder.h"
#include "net/harness.h"
#include "net/http_call.h"
#include "support/certificates.h"

namespace sollol::net {
namespace {

using test::Certified;
using test::TestAuthority;
using Made = Result<std::unique_ptr<Stream>>;

/// One authority, a server's certificate of it, and both sides' contexts.
struct Tls : testing::Test {
  TestAuthority authority;
  TemporaryFolder folder;
  Loop loop;

  std::string write(const std::string& name, const std::string& text) {
    const std::string path = folder / name;
    std::ofstream(path) << text;
    return path;
  }
  std::shared_ptr<const TlsContext> server(const Certified& certified) {
    auto made = TlsContext::server(write("cert.pem", certified.certificate),
                                   write("key.pem", certified.key));
    if (!made) throw std::runtime_error(made.error().detail);
    return *made;
  }
  std::shared_ptr<const TlsContext> server() { return server(authority.issue({"gpu.test"})); }
  std::shared_ptr<const TlsContext> client() {
    auto made = TlsContext::client(write("ca.pem", authority.certificate()));
    if (!made) throw std::runtime_error(made.error().detail);
    return *made;
  }
};

struct Both {
  std::optional<Made> client;
  std::optional<Made> server;
};

Task<bool> accept_into(Loop& loop, std::unique_ptr<Stream> plain,
                       std::shared_ptr<const TlsContext> context, Duration limit, Both& both) {
  auto accepting =
      tls_accept(std::move(plain), std::move(context), loop.context, loop.scheduler.now() + limit);
  auto done = co_await std::move(accepting);
  both.server.emplace(std::move(done));
  co_return true;
}

Task<bool> connect_into(Loop& loop, std::unique_ptr<Stream> plain,
                        std::shared_ptr<const TlsContext> context, std::string host, Both& both) {
  auto connecting =
      tls_connect(std::move(plain), std::move(context), loop.context, std::move(host), loop.soon());
  auto done = co_await std::move(connecting);
  both.client.emplace(std::move(done));
  co_return true;
}

Both shake(Loop& loop, std::shared_ptr<const TlsContext> server,
           std::shared_ptr<const TlsContext> client, std::string host = "gpu.test") {
  Both both;
  Pair plain = make_pair(loop);
  const auto rethrow = [](std::exception_ptr problem, bool) {
    if (problem) std::rethrow_exception(problem);
  };
  asio::co_spawn(loop.context,
                 accept_into(loop, std::move(plain.server), std::move(server), patience, both),
                 rethrow);
  asio::co_spawn(
      loop.context,
      connect_into(loop, std::move(plain.client), std::move(client), std::move(host), both),
      rethrow);
  loop.run_until([&] { return both.client && both.server; });
  return both;
}

Pair secured(Both both) {
  return {std::move(both.client->value()), std::move(both.server->value())};
}

std::string taken_by(Loop& loop, Stream& stream, std::size_t bytes) {
  auto reading = read_text(stream, bytes, loop.soon());
  return loop.run(std::move(reading));
}

TEST_F(Tls, BytesPassBothWays) {
  Pair pair = secured(shake(loop, server(), client()));
  const std::array<std::string_view, 3> slices{"head ", "", "body"};
  EXPECT_EQ(pair.client->write(slices).bytes, 9u);
  EXPECT_EQ(taken_by(loop, *pair.server, 9), "head body");
  write_text(*pair.server, "answer");
  EXPECT_EQ(taken_by(loop, *pair.client, 6), "answer");
  EXPECT_EQ(pair.server->peer_address(), "127.0.0.1");
}

Task<bool> send_all(Loop& loop, Stream& stream, std::string bytes) {
  auto writing = write_all(stream, std::move(bytes), loop.scheduler, patience);
  const Wake wake = co_await std::move(writing);
  stream.close();
  co_return wake == Wake::ready;
}

TEST_F(Tls, MoreThanTheWindowTakesArrivesWhole) {
  Pair pair = secured(shake(loop, server(), client()));
  std::string sent;
  for (int i = 0; sent.size() < (16u << 20); ++i) sent += std::to_string(i) + ",";
  std::optional<bool> all;
  asio::co_spawn(loop.context, send_all(loop, *pair.client, sent),
                 [&](std::exception_ptr, bool done) { all = done; });
  EXPECT_TRUE(taken_by(loop, *pair.server, sent.size()) == sent);
  loop.run_until([&] { return all.has_value(); });
  EXPECT_TRUE(*all);
}

/// A writer may offer less than it did when its record was blocked: nothing is lost or doubled.
TEST_F(Tls, ABlockedRecordMayBeOfferedAgainInOtherPieces) {
  Pair pair = secured(shake(loop, server(), client()));
  std::string sent;
  for (int i = 0; sent.size() < (8u << 20); ++i) sent += std::to_string(i) + ",";
  std::string got;
  std::array<char, 65536> buffer;
  std::size_t at = 0;
  for (std::size_t round = 0; got.size() < sent.size() && round < 1'000'000; ++round) {
    const std::string_view first = std::string_view(sent).substr(at).substr(0, 1 + round % 40000);
    const std::string_view second = std::string_view(sent).substr(at + first.size()).substr(0, 777);
    const std::array<std::string_view, 2> slices{first, second};
    at += pair.client->write(round % 3 == 0 ? std::span(slices) : std::span(slices).first(1)).bytes;
    if (round % 2 == 0) continue;
    const IoResult read = pair.server->read(buffer);
    got.append(buffer.data(), read.bytes);
  }
  EXPECT_TRUE(got == sent);
}

TEST_F(Tls, CloseIsACleanEndAndResetIsNot) {
  std::array<char, 16> buffer;
  for (const bool clean : {true, false}) {
    Pair pair = secured(shake(loop, server(), client()));
    write_text(*pair.server, "last");
    clean ? pair.server->close() : pair.server->reset();
    bool woke = false;
    while (true) {
      const IoResult got = pair.client->read(buffer);
      if (got.status == IoResult::Status::ok) continue;
      if (got.status != IoResult::Status::would_block) {
        EXPECT_EQ(got.status, clean ? IoResult::Status::end : IoResult::Status::error);
        break;
      }
      woke = false;
      pair.client->on_ready(Direction::read, loop.soon(), [&](Wake) { woke = true; });
      loop.run_until([&] { return woke; });
    }
  }
}

/// The plain connection's end without a close_notify: an attacker can make it.
TEST_F(Tls, ATruncatedBodyIsNotComplete) {
  Pair pair = secured(shake(loop, server(), client()));
  write_text(*pair.server, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it");
  pair.server.reset();  // destroyed: FIN, no close_notify
  HttpScratch scratch;
  auto calling = call_once(*pair.client, scratch, {.target = "/", .host_field = "a"}, loop.soon());
  const auto reply = loop.run(std::move(calling));
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().kind, ErrorKind::reset);
}

TEST_F(Tls, ABodyThatLastsUntilCloseNotifyIsComplete) {
  Pair pair = secured(shake(loop, server(), client()));
  write_text(*pair.server, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it");
  pair.server->close();
  HttpScratch scratch;
  auto calling = call_once(*pair.client, scratch, {.target = "/", .host_field = "a"}, loop.soon());
  const auto reply = loop.run(std::move(calling));
  ASSERT_TRUE(reply.has_value()) << reply.error().detail;
  EXPECT_EQ(reply->reply.body, "all of it");
}

/// An idle client connection must not look readable because of the session tickets.
TEST_F(Tls, RecordsWithoutTextWakeNobody) {
  Pair pair = secured(shake(loop, server(), client()));
  std::optional<Wake> woke;
  pair.client->on_ready(Direction::read, loop.scheduler.now() + 150ms,
                        [&](Wake wake) { woke = wake; });
  loop.run_until([&] { return woke.has_value(); });
  EXPECT_EQ(*woke, Wake::timed_out);
}

TEST_F(Tls, TextAtHandWakesAtOnce) {
  Pair pair = secured(shake(loop, server(), client()));
  write_text(*pair.server, "two pieces");
  EXPECT_EQ(taken_by(loop, *pair.client, 1).size(), 10u);
  write_text(*pair.server, "0123456789");
  std::array<char, 4> small;
  bool woke = false;
  std::string got;
  while (got.size() < 10) {
    woke = false;
    pair.client->on_ready(Direction::read, loop.soon(), [&](Wake) { woke = true; });
    loop.run_until([&] { return woke; });
    got.append(small.data(), pair.client->read(small).bytes);
  }
  EXPECT_EQ(got, "0123456789");
}

TEST_F(Tls, CancelWakesBothDirections) {
  Pair pair = secured(shake(loop, server(), client()));
  int cancelled = 0;
  const auto count = [&](Wake wake) { cancelled += wake == Wake::cancelled; };
  pair.client->on_ready(Direction::read, no_deadline, count);
  pair.client->on_ready(Direction::write, no_deadline, count);
  pair.client->cancel();
  EXPECT_EQ(cancelled, 0) << "whoever cancels may be ended by what it wakes";
  loop.run_until([&] { return cancelled == 2; });
}

struct Distrust {
  const char* name;
  std::vector<std::string> issued_for;
  const char* host;
  bool expired = false;
  bool other_authority = false;
  const char* says = nullptr;  // null: it is trusted
};
class Verification : public Tls, public testing::WithParamInterface<Distrust> {};
TEST_P(Verification, TrustsOnlyAValidCertificateForTheHost) {
  const TestAuthority other;
  const TestAuthority& issuer = GetParam().other_authority ? other : authority;
  const Certified certified = GetParam().expired ? issuer.issue_expired(GetParam().issued_for)
                                                 : issuer.issue(GetParam().issued_for);
  const Both both = shake(loop, server(certified), client(), GetParam().host);
  ASSERT_EQ(both.client->has_value(), GetParam().says == nullptr);
  if (GetParam().says == nullptr) return;
  EXPECT_EQ(both.client->error().kind, ErrorKind::untrusted);
  EXPECT_TRUE(both.client->error().detail.contains(GetParam().says)) << both.client->error().detail;
}
INSTANTIATE_TEST_SUITE_P(
    Table, Verification,
    testing::Values(Distrust{"name", {"gpu.test"}, "gpu.test"},
                    Distrust{"wildcard", {"*.nodes.test"}, "gpu.nodes.test"},
                    Distrust{"address", {"IP:127.0.0.1"}, "127.0.0.1"},
                    Distrust{"v6_address", {"IP:::1"}, "::1"},
                    Distrust{"other_name", {"gpu.test"}, "cpu.test", false, false, "hostname"},
                    Distrust{"other_address", {"IP:127.0.0.1"}, "127.0.0.2", false, false, "IP"},
                    Distrust{"name_is_no_address", {"gpu.test"}, "127.0.0.1", false, false, "IP"},
                    Distrust{"expired", {"gpu.test"}, "gpu.test", true, false, "expired"},
                    Distrust{"unknown_authority", {"gpu.test"}, "gpu.test", false, true, "cert"}),
    [](const auto& row) { return std::string(row.param.name); });

/// Tries a handshake with a client of its own settings; true when it succeeds.
bool handshake_works(Loop& loop, std::shared_ptr<const TlsContext> server,
                     std::shared_ptr<const TlsContext> client, int version) {
  SSL_CTX_set_min_proto_version(client->native(), version);
  SSL_CTX_set_max_proto_version(client->native(), version);
  // Old versions' signatures are below the default security level: the client would not even try.
  SSL_CTX_set_cipher_list(client->native(), "ALL:@SECLEVEL=0");
  const Both both = shake(loop, std::move(server), std::move(client));
  return both.server->has_value();
}

TEST_F(Tls, OnlyTls12And13AreSpoken) {
  EXPECT_TRUE(handshake_works(loop, server(), client(), TLS1_3_VERSION));
  EXPECT_TRUE(handshake_works(loop, server(), client(), TLS1_2_VERSION));
  EXPECT_FALSE(handshake_works(loop, server(), client(), TLS1_1_VERSION));
  EXPECT_FALSE(handshake_works(loop, server(), client(), TLS1_VERSION));
}

TEST_F(Tls, AClientThatOffersOnlyOtherProtocolsIsRefused) {
  const auto offering = client();
  constexpr std::array<unsigned char, 3> h2 = {2, 'h', '2'};
  SSL_CTX_set_alpn_protos(offering->native(), h2.data(), h2.size());
  EXPECT_FALSE(shake(loop, server(), offering).server->has_value());
}

TEST_F(Tls, AClientThatStallsInTheHandshakeIsDropped) {
  Both both;
  Pair plain = make_pair(loop);
  write_text(*plain.client, "\x16\x03\x01");
  asio::co_spawn(loop.context, accept_into(loop, std::move(plain.server), server(), 50ms, both),
                 [](std::exception_ptr, bool) {});
  loop.run_until([&] { return both.server.has_value(); });
  ASSERT_FALSE(both.server->has_value());
  EXPECT_EQ(both.server->error().kind, ErrorKind::timeout);
  std::array<char, 8> buffer;
  EXPECT_EQ(plain.client->read(buffer).status, IoResult::Status::end);
}

TEST_F(Tls, PlainHttpIsToldSo) {
  Both both;
  Pair plain = make_pair(loop);
  write_text(*plain.client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  asio::co_spawn(loop.context, accept_into(loop, std::move(plain.server), server(), patience, both),
                 [](std::exception_ptr, bool) {});
  const std::string answer = taken_by(loop, *plain.client, 4096);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
  EXPECT_TRUE(answer.ends_with("use an https:// address.\n")) << answer;
}

TEST_F(Tls, ARandomOpeningIsRefused) {
  Both both;
  Pair plain = make_pair(loop);
  write_text(*plain.client, std::string(2000, '\x5a'));
  asio::co_spawn(loop.context, accept_into(loop, std::move(plain.server), server(), patience, both),
                 [](std::exception_ptr, bool) {});
  loop.run_until([&] { return both.server.has_value(); });
  EXPECT_FALSE(both.server->has_value());
}

TEST_F(Tls, AKeyOfAnotherCertificateIsNamed) {
  const auto made = TlsContext::server(write("cert.pem", authority.issue({"a"}).certificate),
                                       write("key.pem", authority.issue({"a"}).key));
  ASSERT_FALSE(made.has_value());
  EXPECT_TRUE(made.error().detail.starts_with("tls.key: ")) << made.error().detail;
}

TEST_F(Tls, AMissingFileIsNamed) {
  const auto made = TlsContext::server(folder / "none.pem", folder / "none.pem");
  ASSERT_FALSE(made.has_value());
  EXPECT_TRUE(made.error().detail.starts_with("tls.cert: ")) << made.error().detail;
  EXPECT_TRUE(made.error().detail.contains("none.pem': No such file")) << made.error().detail;
}

}  // namespace
}  // namespace sollol::net
