#include "lapack.hpp"

namespace hubfast::lapack {

Library library;

}
