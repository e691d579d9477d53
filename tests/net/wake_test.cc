#include "net/wake.h"

#include <gtest/gtest.h>

namespace sollol::net {
namespace {

struct MacCase {
  const char* name;
  const char* text;
  const char* want;  // null: refused
};
class ParseMac : public testing::TestWithParam<MacCase> {};
TEST_P(ParseMac, ReadsTheAddressOfOneCard) {
  const auto got = parse_mac(GetParam().text);
  ASSERT_EQ(got.has_value(), GetParam().want != nullptr);
  if (got)
    EXPECT_EQ(*got, GetParam().want);
  else
    EXPECT_TRUE(got.error().detail.contains(GetParam().text));
}
INSTANTIATE_TEST_SUITE_P(
    Table, ParseMac,
    testing::Values(MacCase{"colons", "02:00:5e:10:00:0f", "02:00:5e:10:00:0f"},
                    MacCase{"dashes_and_capitals", "0A-BC-5E-10-00-FF", "0a:bc:5e:10:00:ff"},
                    MacCase{"mixed", "02:00-5e:10:00:0f", nullptr},
                    MacCase{"short", "02:00:5e:10:00", nullptr},
                    MacCase{"long_one", "02:00:5e:10:00:0f:01", nullptr},
                    MacCase{"no_hex", "02:00:5e:10:00:0g", nullptr},
                    MacCase{"sign", "02:00:5e:10:00:-1", nullptr},
                    MacCase{"other_separator", "02.00.5e.10.00.0f", nullptr},
                    MacCase{"broadcast", "ff:ff:ff:ff:ff:ff", nullptr},
                    MacCase{"multicast", "01:00:5e:10:00:0f", nullptr},
                    MacCase{"zero", "00:00:00:00:00:00", nullptr}, MacCase{"empty", "", nullptr}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(MagicPacket, IsSixFullBytesAndTheAddressSixteenTimes) {
  const std::string packet = magic_packet("02:00:5e:10:00:0f");
  ASSERT_EQ(packet.size(), 102u);
  EXPECT_EQ(packet.substr(0, 6), std::string(6, '\xff'));
  const std::string address("\x02\x00\x5e\x10\x00\x0f", 6);
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(packet.substr(6 + 6 * i, 6), address);
}

Links links() {
  using Kind = Interface::Kind;
  const auto interface = [](unsigned index, Kind kind, bool up = true) {
    return Interface{.index = index, .name = "i", .kind = kind, .mac = "", .up = up};
  };
  return {.interfaces = {interface(1, Kind::network), interface(2, Kind::point_to_point),
                         interface(3, Kind::network, false), interface(4, Kind::loopback),
                         interface(5, Kind::network), interface(6, Kind::network)},
          .addresses = {{"10.77.1.1", 24, 1, "10.77.1.0/24"},
                        {"10.77.2.1", 24, 2, "10.77.2.0/24"},
                        {"10.77.3.1", 24, 3, "10.77.3.0/24"},
                        {"127.0.0.1", 8, 4, "127.0.0.0/8"},
                        {"203.0.113.1", 24, 5, "203.0.113.0/24"},
                        {"10.77.4.0", 31, 5, "10.77.4.0/31"},
                        {"fd00::1", 64, 5, "fd00::/64"},
                        {"10.77.1.2", 24, 6, "10.77.1.0/24"}},
          .neighbours = {}};
}

struct TargetCase {
  const char* name;
  std::vector<Address> seen;
  std::vector<std::string> want;
};
class WakeTargets : public testing::TestWithParam<TargetCase> {};
TEST_P(WakeTargets, AreTheBroadcastAddressesOfOwnPrivateNetworks) {
  EXPECT_EQ(wake_targets(links(), GetParam().seen), GetParam().want);
}
INSTANTIATE_TEST_SUITE_P(
    Table, WakeTargets,
    testing::Values(TargetCase{"on_a_link_of_two_cards", {{"10.77.1.5", 1}}, {"10.77.1.255"}},
                    TargetCase{"by_its_second_address",
                               {{"192.168.9.9", 1}, {"10.77.1.5", 1}},
                               {"10.77.1.255"}},
                    TargetCase{"behind_a_router", {{"10.99.1.5", 1}}, {}},
                    TargetCase{"behind_a_tunnel", {{"10.77.2.5", 1}}, {}},
                    TargetCase{"on_an_interface_that_is_down", {{"10.77.3.5", 1}}, {}},
                    TargetCase{"loopback", {{"127.0.0.9", 1}}, {}},
                    TargetCase{"public_network", {{"203.0.113.5", 1}}, {}},
                    TargetCase{"two_addresses_alone", {{"10.77.4.1", 1}}, {}},
                    TargetCase{"ipv6", {{"fd00::5", 1}}, {}},
                    TargetCase{"this_machine", {{"10.77.1.1", 1}}, {}},
                    TargetCase{"never_resolved", {}, {}}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(SendMagicPacket, SaysWhyItWasSentNowhere) {
  const auto sent = send_magic_packet("02:00:5e:10:00:0f", {});
  ASSERT_FALSE(sent.has_value());
  EXPECT_TRUE(sent.error().detail.contains("no address")) << sent.error().detail;
}

}  // namespace
}  // namespace sollol::net
