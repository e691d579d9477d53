#include "net/network.h"

#include <gtest/gtest.h>

namespace sollol::net {
namespace {

struct Membership {
  const char* network;
  const char* ip;
  bool inside;
};
class NetworkContains : public testing::TestWithParam<Membership> {};
TEST_P(NetworkContains, ComparesThePrefix) {
  const auto network = Network::parse(GetParam().network);
  ASSERT_TRUE(network.has_value()) << network.error().detail;
  EXPECT_EQ(network->contains(GetParam().ip), GetParam().inside)
      << GetParam().network << " " << GetParam().ip;
}
INSTANTIATE_TEST_SUITE_P(
    Table, NetworkContains,
    testing::Values(
        Membership{"10.0.0.0/8", "10.255.1.2", true}, Membership{"10.0.0.0/8", "11.0.0.1", false},
        Membership{"192.168.1.128/25", "192.168.1.129", true},
        Membership{"192.168.1.128/25", "192.168.1.1", false},
        Membership{"10.0.0.7", "10.0.0.7", true}, Membership{"10.0.0.7", "10.0.0.8", false},
        Membership{"0.0.0.0/0", "8.8.8.8", true}, Membership{"0.0.0.0/0", "2001:db8::1", false},
        Membership{"::/0", "2001:db8::1", true}, Membership{"fd00::/8", "fd12::1", true},
        Membership{"fd00::/8", "fe80::1", false}, Membership{"10.0.0.0/8", "::ffff:10.1.2.3", true},
        Membership{"10.0.0.0/8", "64:ff9b::a01:203", true},
        Membership{"fe80::/10", "fe80::1%eth0", true}, Membership{"10.0.0.0/8", "gpu1", false}));

TEST(Network, ABadTextIsNamedWithItsMend) {
  for (const char* text : {"", "gpu1", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8x", "::/129", "/8"}) {
    const auto network = Network::parse(text);
    ASSERT_FALSE(network.has_value()) << text;
    EXPECT_TRUE(network.error().detail.contains("10.0.0.0/8 or fd00::/8"));
  }
}

TEST(Network, SpecialAddressesNeedToBeAllowed) {
  const std::vector<Network> none;
  for (const char* ip :
       {"169.254.169.254", "169.254.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
        "::169.254.169.254", "fe80::1", "fe80::1%2", "fd00:ec2::254", "224.0.0.1", "ff02::1",
        "0.0.0.0", "0.1.2.3", "::", "255.255.255.255", "100.100.100.200"}) {
    EXPECT_FALSE(may_connect(ip, none)) << ip;
  }
  for (const char* ip : {"127.0.0.1", "10.0.0.1", "192.168.1.20", "8.8.8.8", "::1", "fd12::1",
                         "2001:db8::1", "100.64.0.1"}) {
    EXPECT_TRUE(may_connect(ip, none)) << ip;
  }
}

TEST(Network, NamedNetworksAreTheOnlyOnes) {
  const std::vector<Network> allowed = {Network::parse("10.0.0.0/8").value(),
                                        Network::parse("169.254.7.0/24").value()};
  EXPECT_TRUE(may_connect("10.1.2.3", allowed));
  EXPECT_TRUE(may_connect("169.254.7.1", allowed));
  EXPECT_FALSE(may_connect("169.254.169.254", allowed));
  EXPECT_FALSE(may_connect("127.0.0.1", allowed));
}

}  // namespace
}  // namespace sollol::net
