"""One file per step of the method, one public function each."""
