-- Sites that the sweep cannot make fail, or not so that anything would come of it:
-- their file and function, and what they call -> why.
return {
}
