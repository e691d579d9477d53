#include <gtest/gtest.h>

#include "discovery/discover.h"

namespace sollol::discovery {
namespace {

/// Nobody but who announces himself is heard.
ScanOptions heard_of(std::vector<Address> addresses) {
  ScanOptions options;
  options.sources = Sources::none();
  options.sources.add(Source::mdns);
  options.announced = [addresses] { return net::Announced{.addresses = addresses}; };
  return options;
}

TEST(Announced, IsTriedAtNoAddressWhereNoScanMayGo) {
  // A public one, this machine, what no machine has, link-local, and no address at all.
  const auto found = discover(heard_of(
      {{"192.0.2.7", 0}, {"127.0.0.1", 0}, {"224.0.0.251", 0}, {"fe80::1", 0}, {"", 0}, {"x", 9}}));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->figures.tried, 0u);
}

TEST(Announced, IsWaitedForNoLongerThanTheTimeOut) {
  ScanOptions options = heard_of({});
  options.timeout = std::chrono::milliseconds(50);
  unsigned asked = 0;
  options.announced = [&asked] {
    ++asked;
    return net::Announced{.addresses = {}, .settled = false};
  };
  ASSERT_TRUE(discover(options).has_value());
  EXPECT_GT(asked, 1u);
}

TEST(Announced, IsNotHeardWhenItsSourceIsTurnedOff) {
  ScanOptions options = heard_of({});
  options.sources = Sources::none();
  bool asked = false;
  options.announced = [&asked] {
    asked = true;
    return net::Announced{};
  };
  ASSERT_TRUE(discover(options).has_value());
  EXPECT_FALSE(asked);
}

}  // namespace
}  // namespace sollol::discovery
