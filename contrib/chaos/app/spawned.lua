-- An isolate that lives for one sum.
return (...) * 2
