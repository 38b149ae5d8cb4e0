// ctseg bench: measurements that a user can repeat.
#include "commands.hpp"

namespace cli {

void bench(const BenchArguments& a, Console&) { throw cs::Error(cs::Code::unsupported, a.name, "is not there yet."); }

}   // namespace cli
