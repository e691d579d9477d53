#include "net/address.h"

#include <gtest/gtest.h>

namespace sollol::net {
namespace {

struct ListenCase {
  const char* name;
  const char* text;
  const char* ip;
  std::uint16_t port;
};

class ListenAddress : public testing::TestWithParam<ListenCase> {};

TEST_P(ListenAddress, IsUnderstood) {
  const auto got = parse_listen_address(GetParam().text);
  ASSERT_TRUE(got.has_value()) << got.error().detail;
  EXPECT_EQ(got->ip, GetParam().ip);
  EXPECT_EQ(got->port, GetParam().port);
}

const auto case_name = [](const auto& row) { return std::string(row.param.name); };
INSTANTIATE_TEST_SUITE_P(Table, ListenAddress,
                         testing::Values(ListenCase{"v4", "127.0.0.1:11434", "127.0.0.1", 11434},
                                         ListenCase{"v6", "[::1]:80", "::1", 80},
                                         ListenCase{"port_alone", ":80", "0.0.0.0", 80},
                                         ListenCase{"star", "*:80", "0.0.0.0", 80},
                                         ListenCase{"localhost", "localhost:80", "127.0.0.1", 80},
                                         ListenCase{"any_port", "127.0.0.1:0", "127.0.0.1", 0},
                                         ListenCase{"highest_port", "127.0.0.1:65535", "127.0.0.1",
                                                    65535}),
                         case_name);

class BadListenAddress : public testing::TestWithParam<const char*> {};

TEST_P(BadListenAddress, IsRefusedWithTheMend) {
  const auto got = parse_listen_address(GetParam());
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().kind, ErrorKind::bad_input);
  EXPECT_TRUE(got.error().detail.contains("write it as 127.0.0.1:11434")) << got.error().detail;
}

INSTANTIATE_TEST_SUITE_P(Table, BadListenAddress,
                         testing::Values("", "11434", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
                                         "127.0.0.1:-1", "127.0.0.1:8x", "127.0.0.1: 80", "host:80",
                                         "256.0.0.1:80", "[::1:80"));

TEST(IsLoopback, CoversAllOfTheNetwork) {
  EXPECT_TRUE(is_loopback({"127.0.0.1", 1}));
  EXPECT_TRUE(is_loopback({"127.9.9.9", 1}));
  EXPECT_TRUE(is_loopback({"::1", 1}));
  EXPECT_FALSE(is_loopback({"10.0.0.1", 1}));
  EXPECT_FALSE(is_loopback({"0.0.0.0", 1}));
  EXPECT_FALSE(is_loopback({"localhost", 1}));
}

}  // namespace
}  // namespace sollol::net
