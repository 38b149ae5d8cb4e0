// How processes find each other before something connects them.
#include <doctest/doctest.h>

#include <ctseg/train/rendezvous.hpp>

#include <map>

#include "io/temp_folder.hpp"

using namespace ctseg;

namespace {

ProcessPlace place_in(const std::map<std::string, std::string>& environment) {
  return process_place([&](const char* name) -> const char* {
    const auto at = environment.find(name);
    return at == environment.end() ? nullptr : at->second.c_str();
  });
}

}   // namespace

TEST_CASE("launchers say which process this is") {
  const auto mpi = place_in({{"OMPI_COMM_WORLD_RANK", "5"}, {"OMPI_COMM_WORLD_SIZE", "8"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}});
  CHECK((mpi.rank == 5 && mpi.size == 8 && mpi.local_rank == 1));
  const auto slurm = place_in({{"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "4"}, {"SLURM_LOCALID", "3"}});
  CHECK((slurm.rank == 3 && slurm.size == 4 && slurm.local_rank == 3));
  const auto torchrun = place_in({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "1"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}});
  CHECK((torchrun.rank == 1 && torchrun.size == 2 && torchrun.local_rank == 1));
  const auto alone = place_in({{"LOCAL_RANK", "7"}});   // a rank without a size is nobody's launcher
  CHECK((alone.rank == 0 && alone.size == 1 && alone.local_rank == 0));
  CHECK_THROWS_WITH_AS(place_in({{"RANK", "2"}, {"WORLD_SIZE", "2"}}), doctest::Contains("RANK = 2, WORLD_SIZE = 2"), Error);
  CHECK_THROWS_WITH_AS(place_in({{"RANK", "x"}, {"WORLD_SIZE", "2"}}), doctest::Contains("RANK = x"), Error);
}

TEST_CASE("rank 0's bytes reach everybody, whatever earlier processes left in the folder") {
  const TempFolder folder;
  const std::string bytes = std::string("\n\n\0 bytes", 9);
  std::ofstream(folder.path / "ctseg.answer") << "-\n1-1\n2-2\n\nof another time";
  std::ofstream(folder.path / "ctseg.rank_1") << "1-1";   // killed while it asked
  std::vector<std::string> got(4);
  std::vector<std::thread> processes;
  for (const int rank : {3, 1, 0, 2})
    processes.emplace_back([&, rank] {
      std::this_thread::sleep_for(std::chrono::milliseconds(15 * rank));
      got[static_cast<std::size_t>(rank)] = Rendezvous(folder.path, {rank, 4, rank}, 20).share(rank == 0 ? bytes : "mine");
    });
  for (auto& p : processes) p.join();
  for (const auto& g : got) CHECK(g == bytes);
  CHECK(std::filesystem::is_empty(folder.path));
}

TEST_CASE("who does not come is named") {
  const TempFolder folder;
  CHECK_THROWS_WITH_AS((Rendezvous(folder.path, {0, 3, 0}, 0.05).share("id")),
                       doctest::Contains("2 of 3 processes did not come in 0.05 s, rank 2"), Error);
  CHECK_THROWS_WITH_AS((Rendezvous(folder.path, {1, 2, 1}, 0.05).share("")), doctest::Contains("rank 1 of 2 had no answer"), Error);
  CHECK(std::filesystem::is_empty(folder.path));
}
