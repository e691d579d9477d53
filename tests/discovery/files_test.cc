#include "discovery/files.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "temporary_folder.h"

namespace sollol::discovery {
namespace {

namespace fs = std::filesystem;

TEST(ExpandHome, ReplacesALeadingTildeOnly) {
  const MapEnvironment environment({{"HOME", "/h"}});
  EXPECT_EQ(expand_home("~/a", environment), "/h/a");
  EXPECT_EQ(expand_home("~", environment), "/h");
  EXPECT_EQ(expand_home("~other/a", environment), "~other/a");
  EXPECT_EQ(expand_home("/a/~", environment), "/a/~");
  EXPECT_EQ(expand_home("~/a", MapEnvironment({})), "~/a");
}

TEST(WriteFileAtomically, MakesFoldersAndLeavesNothingBeside) {
  const TemporaryFolder folder;
  const auto path = folder / "a/b/nodes.json";
  ASSERT_TRUE(write_file_atomically(path, "one").has_value());
  ASSERT_TRUE(write_file_atomically(path, "two").has_value());
  EXPECT_EQ(read_file(path).value(), "two");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "a/b"), {}), 1);
}

TEST(WriteFileAtomically, FollowsALinkAndKeepsPermissions) {
  const TemporaryFolder folder;
  ASSERT_TRUE(write_file_atomically(folder / "real", "one").has_value());
  fs::permissions(folder / "real", fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("real", folder / "link");
  ASSERT_TRUE(write_file_atomically(folder / "link", "two").has_value());
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "real").value(), "two");
  EXPECT_EQ(fs::status(folder / "real").permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
}

TEST(WriteFileAtomically, SaysWhichFileCannotBeWritten) {
  const TemporaryFolder folder;
  ASSERT_TRUE(write_file_atomically(folder / "file", "one").has_value());
  const auto written = write_file_atomically(folder / "file/below", "two");
  ASSERT_FALSE(written.has_value());
  EXPECT_NE(written.error().detail.find("file/below"), std::string::npos) << written.error().detail;
}

TEST(ReadFile, TellsAMissingFileFromAnUnreadableOne) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_file(folder / "none").error().kind, ErrorKind::not_found);
  EXPECT_EQ(read_file(folder / "").error().kind, ErrorKind::bad_input);  // a folder
}

}  // namespace
}  // namespace sollol::discovery
